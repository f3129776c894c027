#include "sessions/compression/quality_tables.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <functional>
#include <map>

namespace kvasir {
namespace {

constexpr double kEnough = 0.8;  // of the questions, by the full context: else forgetting cannot be told from not knowing
constexpr int kResamples = 2000;

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

std::string number(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

/// The interval of a statistic over spans drawn with replacement; the same numbers every time.
Interval resampled(size_t spans, const std::function<double(const std::vector<size_t>&)>& statistic) {
  std::vector<size_t> drawn(spans);
  for (size_t i = 0; i < spans; ++i) drawn[i] = i;
  Interval out{.middle = statistic(drawn)};
  std::vector<double> values;
  uint64_t state = 12345;
  for (int round = 0; round < kResamples; ++round) {
    for (size_t& index : drawn) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      index = (state >> 33) % spans;
    }
    values.push_back(statistic(drawn));
  }
  std::ranges::sort(values);
  out.low = values[static_cast<size_t>(kResamples * 0.025)];
  out.high = values[static_cast<size_t>(kResamples * 0.975)];
  return out;
}

double mean_of(const std::vector<double>& values, const std::vector<size_t>& which) {
  double sum = 0;
  for (const size_t index : which) sum += values[index];
  return sum / static_cast<double>(which.size());
}

std::string with_interval(const char* format, const Interval& interval) {
  return number(format, interval.middle) + " [" + number(format, interval.low) + ", " + number(format, interval.high) + "]";
}

std::string percent(double share) { return number("%.0f %%", 100 * share); }

void write_recall(const std::string& title, const RecallTable& table, std::string& out) {
  const double full = table.asked == 0 ? 0 : static_cast<double>(table.right_full) / static_cast<double>(table.asked);
  out += "\n" + title + ": the full context answers " + std::to_string(table.right_full) + " of " +
         std::to_string(table.asked) + " (" + percent(full) + ")";
  if (table.asked == 0 || full < kEnough) {
    out += "; below " + percent(kEnough) + ", so nothing is told here: what was never known cannot be forgotten.\n";
    return;
  }
  out += ". Of these:\n\n| who | removed | found [95 %] |";
  for (const auto& part : table.parts) out += " " + part + " |";
  out += "\n|---|---|---|";
  for (size_t i = 0; i < table.parts.size(); ++i) out += "---|";
  out += "\n";
  for (const RecallRow& row : table.rows) {
    if (row.asked == 0) continue;
    out += "| " + std::string(name_of(row.who)) + " | " + percent(row.ratio) + " | " +
           with_interval("%.2f", share_interval(row.right, row.asked)) + " |";
    for (const auto& [asked, right] : row.by_part) out += " " + std::to_string(right) + "/" + std::to_string(asked) + " |";
    out += "\n";
  }
  out += "\nOf the " + std::to_string(table.asked - table.right_full) + " others kv_quantize answers " +
         std::to_string(table.only_quantized) + ".\n";
}

/// What the numbers say about each strategy, where it can be said.
void write_verdicts(const QualityReport& report, std::string& out) {
  std::map<double, double> recency;
  for (const auto& row : report.likelihood) {
    if (row.who == Contender::kWindow) recency[row.ratio] = cost(row).middle;
  }
  out += "\n";
  for (const auto& row : report.likelihood) {
    const auto found = recency.find(row.ratio);
    if (row.who != Contender::kAttention || found == recency.end()) continue;
    const double mine = cost(row).middle;
    out += "- attention_based without focus at " + percent(row.ratio) + ": " + number("%+.3f", mine) + " against " +
           number("%+.3f", found->second) + " of recency: " + (mine < found->second ? "better" : "does not beat recency") + ".\n";
  }
}

struct Plot {
  std::string out;
  double left, top;
  static constexpr double kWidth = 360, kHeight = 260;

  double x(double ratio) const { return left + ratio * kWidth; }
  double y(double share) const { return top + (1 - std::clamp(share, -0.2, 1.1)) * kHeight / 1.3 + kHeight * 0.1 / 1.3; }
  void text(double at_x, double at_y, const std::string& what, const char* anchor = "middle") {
    out += "<text x=\"" + number("%.1f", at_x) + "\" y=\"" + number("%.1f", at_y) + "\" text-anchor=\"" + anchor + "\">" + what + "</text>\n";
  }
  void line(double x1, double y1, double x2, double y2, const std::string& style) {
    out += "<line x1=\"" + number("%.1f", x1) + "\" y1=\"" + number("%.1f", y1) + "\" x2=\"" + number("%.1f", x2) +
           "\" y2=\"" + number("%.1f", y2) + "\" " + style + "/>\n";
  }
  void frame(const std::string& title) {
    text(left + kWidth / 2, top - 12, title);
    for (const double share : {0.0, 0.25, 0.5, 0.75, 1.0}) {
      line(left, y(share), left + kWidth, y(share), "stroke=\"#ddd\"");
      text(left - 6, y(share) + 4, number("%.2f", share), "end");
    }
    for (const double ratio : {0.0, 0.25, 0.5, 0.75, 1.0}) text(x(ratio), top + kHeight + 16, percent(ratio));
    text(left + kWidth / 2, top + kHeight + 34, "share of the context removed");
  }
  void curve(const std::vector<std::pair<double, Interval>>& points, const std::string& colour) {
    std::string path;
    for (const auto& [ratio, value] : points) {
      path += (path.empty() ? "M" : " L") + number("%.1f", x(ratio)) + "," + number("%.1f", y(value.middle));
      line(x(ratio), y(value.low), x(ratio), y(value.high), "stroke=\"" + colour + "\" stroke-opacity=\"0.5\"");
      out += "<circle cx=\"" + number("%.1f", x(ratio)) + "\" cy=\"" + number("%.1f", y(value.middle)) + "\" r=\"3\" fill=\"" + colour + "\"/>\n";
    }
    out += "<path d=\"" + path + "\" fill=\"none\" stroke=\"" + colour + "\" stroke-width=\"1.5\"/>\n";
  }
};

constexpr std::array kPlotted = {
    std::pair{Contender::kQuantized, "#444444"}, std::pair{Contender::kWindow, "#1f77b4"},
    std::pair{Contender::kRandom, "#999999"}, std::pair{Contender::kAttention, "#d95f02"},
    std::pair{Contender::kFocused, "#1b9e77"}};

}  // namespace

Interval share_interval(uint64_t right, uint64_t asked) {
  if (asked == 0) return {.middle = 0, .low = 0, .high = 1};
  constexpr double kZ = 1.96;
  const auto n = static_cast<double>(asked);
  const double p = static_cast<double>(right) / n;
  const double centre = (p + kZ * kZ / (2 * n)) / (1 + kZ * kZ / n);
  const double half = kZ * std::sqrt(p * (1 - p) / n + kZ * kZ / (4 * n * n)) / (1 + kZ * kZ / n);
  return {.middle = p, .low = std::max(0.0, centre - half), .high = std::min(1.0, centre + half)};
}

Interval retained(const LikelihoodRow& row) {
  return resampled(row.nll.size(), [&](const std::vector<size_t>& which) {
    const double none = std::exp(mean_of(row.nll_none, which)), full = std::exp(mean_of(row.nll_full, which));
    return none == full ? 0.0 : (none - std::exp(mean_of(row.nll, which))) / (none - full);
  });
}

Interval cost(const LikelihoodRow& row) {
  return resampled(row.nll.size(), [&](const std::vector<size_t>& which) {
    return mean_of(row.nll, which) - mean_of(row.nll_full, which);
  });
}

std::string to_markdown(const QualityReport& report) {
  std::string out;
  if (!report.likelihood.empty()) {
    const LikelihoodRow& any = report.likelihood.front();
    out += "Likelihood of what follows, " + std::to_string(any.nll.size()) + " texts: perplexity " +
           number("%.2f", std::exp(mean(any.nll_full))) + " with the full context, " +
           number("%.2f", std::exp(mean(any.nll_none))) + " with none.\n\n";
    out += "| who | removed | dNLL [95 %] | perplexity retained [95 %] | KL | same likeliest token |\n|---|---|---|---|---|---|\n";
    for (const auto& row : report.likelihood) {
      out += "| " + std::string(name_of(row.who)) + " | " + (row.who == Contender::kQuantized ? "0, at 4 bits" : percent(row.ratio)) + " | " + with_interval("%+.4f", cost(row)) +
             " | " + with_interval("%.3f", retained(row)) + " | " + number("%.4f", mean(row.kl)) + " | " +
             percent(mean(row.agree)) + " |\n";
    }
    write_verdicts(report, out);
  }
  write_recall("Needles", report.needles, out);
  write_recall("Facts of a chat", report.chats, out);
  return out;
}

std::string to_svg(const QualityReport& report) {
  std::string out = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"920\" height=\"400\" font-family=\"sans-serif\" "
                    "font-size=\"12\">\n<rect width=\"920\" height=\"400\" fill=\"white\"/>\n";
  Plot left{.out = {}, .left = 60, .top = 40}, right{.out = {}, .left = 520, .top = 40};
  left.frame("perplexity retained");
  right.frame("needles found");
  double legend = 60;
  for (const auto& [who, colour] : kPlotted) {
    std::vector<std::pair<double, Interval>> points;
    for (const auto& row : report.likelihood) {
      if (row.who == who) points.emplace_back(who == Contender::kQuantized ? 0 : row.ratio, retained(row));
    }
    if (!points.empty()) left.curve(points, colour);
    points.clear();
    for (const auto& row : report.needles.rows) {
      if (row.who == who && row.asked > 0) points.emplace_back(row.ratio, share_interval(row.right, row.asked));
    }
    if (!points.empty()) right.curve(points, colour);
    left.out += "<rect x=\"" + number("%.0f", legend) + "\" y=\"372\" width=\"12\" height=\"12\" fill=\"" + std::string(colour) + "\"/>\n";
    left.text(legend + 18, 382, std::string(name_of(who)), "start");
    legend += 170;
  }
  return out + left.out + right.out + "</svg>\n";
}

}  // namespace kvasir
