#include "core/text/pretokenizer.h"

#include <algorithm>
#include <span>
#include <vector>

#include "core/text/scanners.h"
#include "core/text/scanners_sets.h"

namespace kvasir::text {
namespace {

// Character classes that the expressions spell out, sorted. Sources: the tokenizer.json of each model.

// DeepSeek LLM's list of cased letters (Unicode 14's \p{L&} without the mathematical ones).
constexpr auto kDeepseekLetters = std::to_array<CodeRange>({
    {'A', 'Z'},         {'a', 'z'},         {0xB5, 0xB5},       {0xC0, 0xD6},       {0xD8, 0xF6},
    {0xF8, 0x1BA},      {0x1BC, 0x1BF},     {0x1C4, 0x293},     {0x295, 0x2AF},     {0x370, 0x373},
    {0x376, 0x377},     {0x37B, 0x37D},     {0x37F, 0x37F},     {0x386, 0x386},     {0x388, 0x38A},
    {0x38C, 0x38C},     {0x38E, 0x3A1},     {0x3A3, 0x3F5},     {0x3F7, 0x481},     {0x48A, 0x52F},
    {0x531, 0x556},     {0x10A0, 0x10C5},   {0x13A0, 0x13F5},   {0x13F8, 0x13FD},   {0x1C90, 0x1CBA},
    {0x1CBD, 0x1CBF},   {0x1D00, 0x1D2B},   {0x1D6B, 0x1D77},   {0x1D79, 0x1D9A},   {0x1E00, 0x1F15},
    {0x1F18, 0x1F1D},   {0x1F20, 0x1F45},   {0x1F48, 0x1F4D},   {0x1F50, 0x1F57},   {0x1F59, 0x1F59},
    {0x1F5B, 0x1F5B},   {0x1F5D, 0x1F5D},   {0x1F5F, 0x1F7D},   {0x1F80, 0x1FB4},   {0x1FB6, 0x1FBC},
    {0x1FBE, 0x1FBE},   {0x1FC2, 0x1FC4},   {0x1FC6, 0x1FCC},   {0x1FD0, 0x1FD3},   {0x1FD6, 0x1FDB},
    {0x1FE0, 0x1FEC},   {0x1FF2, 0x1FF4},   {0x1FF6, 0x1FFC},   {0x2102, 0x2102},   {0x2107, 0x2107},
    {0x210A, 0x2113},   {0x2115, 0x2115},   {0x2119, 0x211D},   {0x2124, 0x2124},   {0x2126, 0x2126},
    {0x2128, 0x2128},   {0x212A, 0x212D},   {0x212F, 0x2134},   {0x2139, 0x2139},   {0x213C, 0x213F},
    {0x2145, 0x2149},   {0x214E, 0x214E},   {0x2183, 0x2184},   {0x2C00, 0x2C7B},   {0x2C7E, 0x2CE4},
    {0x2CEB, 0x2CEE},   {0x2CF2, 0x2CF3},   {0xA640, 0xA66D},   {0xA680, 0xA69B},   {0xA722, 0xA76F},
    {0xA771, 0xA787},   {0xA78B, 0xA78E},   {0xAB70, 0xABBF},   {0xFB00, 0xFB06},   {0xFB13, 0xFB17},
    {0xFF21, 0xFF3A},   {0xFF41, 0xFF5A},   {0x10400, 0x1044F}, {0x104B0, 0x104D3}, {0x104D8, 0x104FB},
    {0x10C80, 0x10CB2}, {0x10CC0, 0x10CF2}, {0x118A0, 0x118DF}, {0x1E900, 0x1E943},
});
constexpr auto kDeepseekPunctuation = std::to_array<CodeRange>(
    {{'!', '/'}, {':', '~'}, {0x2018, 0x201F}, {0x3000, 0x3002}, {0xFF01, 0xFF0F}, {0xFF1A, 0xFF5E}});
constexpr auto kDeepseekCjk = std::to_array<CodeRange>({{0x800, 0x4E00}, {0x4E00, 0x9FA5}, {0xAC00, 0xD7FF}});
constexpr auto kLineBreaks = std::to_array<CodeRange>({{'\n', '\n'}, {'\r', '\r'}});
constexpr auto kHanKana = std::to_array<CodeRange>({{0x3040, 0x30FF}, {0x4E00, 0x9FA5}});
constexpr auto kHangul = std::to_array<CodeRange>({{0x3131, 0x318E}, {0xAC00, 0xD7A3}});
// clang-format off
constexpr auto kCjkPunctuation = std::to_array<CodeRange>({{0x2014, 0x2014}, {0x2018, 0x2019}, {0x201C, 0x201D},
    {0x2026, 0x2026}, {0x3001, 0x303F}, {0xFE30, 0xFE4F}, {0xFF01, 0xFF01}, {0xFF0C, 0xFF0C}, {0xFF1A, 0xFF1B}});
// clang-format on
constexpr auto kBopomofo = std::to_array<CodeRange>({{0x3105, 0x312F}});
// clang-format off
constexpr auto kAfmoeAsian = std::to_array<CodeRange>({{0xE00, 0xEFF}, {0x1000, 0x109F}, {0x1100, 0x11FF},
    {0x1780, 0x17FF}, {0x2F00, 0x2FDF}, {0x3040, 0x30FF}, {0x3400, 0x4DBF}, {0x4E00, 0x9FFF}, {0xA9E0, 0xA9FF},
    {0xAA60, 0xAA7F}, {0xAC00, 0xD7AF}, {0xF900, 0xFAFF}, {0xFF65, 0xFF9F}});
// clang-format on
constexpr auto kAsciiDigits = std::to_array<CodeRange>({{'0', '9'}});

/// [\p{P}\$\+<=>\^~\|]+ , with ` for Falcon
template <bool Backquote>
size_t scan_falcon_punctuation(const char* p, const char* end, ScanContext& context) {
  const char* q = p;
  while (q < end) {
    const Unit unit = unit_at(q, end, context.basic_plane);
    const bool listed = unit.code_point < 0x80 &&
                        std::string_view("$+<=>^~|`").substr(0, Backquote ? 9 : 8).find(*q) != std::string_view::npos;
    if (!listed && !unit.in(kPunctuation)) break;
    q += unit.bytes;
  }
  return static_cast<size_t>(q - p);
}

/// [0-9][0-9][0-9]
size_t scan_three_digits(const char* p, const char* end, ScanContext&) {
  if (end - p < 3) return 0;
  for (int i = 0; i < 3; ++i) {
    if (p[i] < '0' || p[i] > '9') return 0;
  }
  return 3;
}

/// BLOOM:  ?[^(\s|.,!?…。，、।۔،)]+
size_t scan_bloom(const char* p, const char* end, ScanContext& context) {
  const auto fits = [](const Unit& unit) {
    constexpr std::u32string_view kBreaks = U"()|.,!?\u2026\u3002\uFF0C\u3001\u0964\u06D4\u060C";
    return kBreaks.find(static_cast<char32_t>(unit.code_point)) == kBreaks.npos && !unit.in(kWhiteSpace);
  };
  const char* q = *p == ' ' ? p + 1 : p;
  const char* const begin = q;
  while (q < end) {
    const Unit unit = unit_at(q, end, context.basic_plane);
    if (!fits(unit)) break;
    q += unit.bytes;
  }
  return q == begin ? 0 : static_cast<size_t>(q - p);
}

/// [^\n]+|[\n]+
size_t scan_lines(const char* p, const char* end, ScanContext&) {
  const char* q = p;
  while (q < end && (*q == '\n') == (*p == '\n')) ++q;
  return static_cast<size_t>(q - p);
}

/// <sentinel:[0-9]+>
size_t scan_chameleon_sentinel(const char* p, const char* end, ScanContext&) {
  constexpr std::string_view kHead = "<sentinel:";
  if (!std::string_view(p, static_cast<size_t>(end - p)).starts_with(kHead)) return 0;
  const char* q = p + kHead.size();
  const char* const digits = q;
  while (q < end && *q >= '0' && *q <= '9') ++q;
  return q > digits && q < end && *q == '>' ? static_cast<size_t>(q + 1 - p) : 0;
}

/// (IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z
size_t scan_chameleon_image(const char* p, const char* end, ScanContext&) {
  constexpr std::string_view kHead = "IMGIMG";
  if (!std::string_view(p, static_cast<size_t>(end - p)).starts_with(kHead)) return 0;
  const char* q = p + kHead.size();
  const char* const letters = q;
  while (q < end && q - letters < 4 && *q >= 'A' && *q <= 'I') ++q;
  return q > letters && q < end && *q == 'Z' ? static_cast<size_t>(q + 1 - p) : 0;
}

/// ([\t\n]|    |  )
size_t scan_chameleon_spaces(const char* p, const char* end, ScanContext&) {
  if (*p == '\t' || *p == '\n') return 1;
  const std::string_view rest(p, static_cast<size_t>(end - p));
  return rest.starts_with("    ") ? 4 : rest.starts_with("  ") ? 2 : 0;
}

/// [\p{P}!-/:-@\[-`{-~]
template <bool Run>
size_t scan_punctuation(const char* p, const char* end, ScanContext& context) {
  const char* q = p;
  while (q < end) {
    const Unit unit = unit_at(q, end, context.basic_plane);
    if (!is_ascii_punctuation(*q) && !unit.in(kPunctuation)) break;
    q += unit.bytes;
    if (!Run) break;
  }
  return static_cast<size_t>(q - p);
}

size_t scan_youtu(const char* p, const char* end, ScanContext& context) {
  for (const Scanner scanner :
       {Scanner(scan_ranges<kHangul, false, true>), Scanner(scan_ranges<kCjkPunctuation, false, true>),
        Scanner(scan_ranges<kBopomofo, false, true>), Scanner(scan_ranges<kHanKana, false, true>)}) {
    if (const size_t length = scanner(p, end, context); length != 0) return length;
  }
  return 0;
}

/// \s+$
size_t scan_trailing_space(const char* p, const char* end, ScanContext& context) {
  if (!unit_at(p, end, context.basic_plane).in(kWhiteSpace)) return 0;
  if (context.counted_until == nullptr || p >= context.counted_until) {
    context.counted_until = run_of<kWhiteSpace>(p, end, context.basic_plane);
  }
  return context.counted_until == end ? static_cast<size_t>(end - p) : 0;
}

constexpr Scanner kGpt2 = scan_gpt2;
constexpr Scanner kOneNumber = scan_set<kNumbers, false>;
constexpr Scanner kNumberRun = scan_set<kNumbers, true>;
constexpr Scanner kLlama3 = scan_gpt4<Gpt4Rules{}>;
constexpr Scanner kQwen2 = scan_gpt4<Gpt4Rules{.digits = 1}>;
constexpr Scanner kQwen35 = scan_gpt4<Gpt4Rules{.words = Words::kWithMarks, .digits = 1}>;
constexpr Scanner kGpt4o = scan_gpt4<Gpt4Rules{
    .words = Words::kCased, .contractions = Contractions::kAfterWord, .trail = Trail::kLinesSlashes}>;
constexpr Scanner kTekken = scan_gpt4<Gpt4Rules{
    .words = Words::kCased, .contractions = Contractions::kNone, .digits = 1, .trail = Trail::kLinesSlashes}>;
constexpr Scanner kYoutuWords = scan_gpt4<Gpt4Rules{
    .words = Words::kCased, .contractions = Contractions::kAfterWord, .digits = 1, .trail = Trail::kLinesSlashes}>;
constexpr Scanner kKimi = scan_gpt4<Gpt4Rules{.words = Words::kCasedNoHan, .contractions = Contractions::kAfterWord}>;
constexpr Scanner kNoContractions = scan_gpt4<Gpt4Rules{.contractions = Contractions::kNone, .digits = 1}>;
constexpr Scanner kSeedCoder = scan_gpt4<Gpt4Rules{.digits = 1, .trail = Trail::kNone}>;
constexpr Scanner kManyDigits = scan_gpt4<Gpt4Rules{.digits = 0}>;
constexpr Scanner kExaoneMoe =
    scan_gpt4<Gpt4Rules{.words = Words::kSpaced, .digits = 1, .trail = Trail::kOneLineSlash}>;
constexpr Scanner kJais2 = scan_gpt4<Gpt4Rules{.halving_spaces = true}>;
constexpr Scanner kDeepseek3 = scan_deepseek3<false>;
constexpr Scanner kHanKanaRun = scan_ranges<kHanKana, false, true>;

constexpr ScannerChain kDefaultChain = {scan_falcon_punctuation<false>, kGpt2, kNumberRun, scan_three_digits};
constexpr ScannerChain kDeepseek3Chain = {scan_numbers3, kHanKanaRun, kDeepseek3};
constexpr ScannerChain kDigitsGpt2 = {kOneNumber, kGpt2};

// One row per name that GGUF files use in tokenizer.ggml.pre. nfc is said where the published tokenizer.json
// of the family normalises; converters do not write it down.
// clang-format off
constexpr auto kTable = std::to_array<PreTokenizer>({
    {.name = "default", .scanners = kDefaultChain},
    {.name = "gpt-2", .scanners = {kGpt2}},
    {.name = "phi-2", .scanners = {kGpt2}},
    {.name = "jina-es", .scanners = {kGpt2}},
    {.name = "jina-de", .scanners = {kGpt2}},
    {.name = "jina-v1-en", .scanners = {kGpt2}},
    {.name = "jina-v2-es", .scanners = {kGpt2}},
    {.name = "jina-v2-de", .scanners = {kGpt2}},
    {.name = "jina-v2-code", .scanners = {kGpt2}},
    {.name = "roberta-bpe", .scanners = {kGpt2}},
    {.name = "gigachat", .scanners = {kGpt2}},
    {.name = "a.x-4.0", .scanners = {kGpt2}},
    {.name = "mellum", .scanners = {kGpt2}},
    {.name = "modern-bert", .scanners = {kGpt2}},
    {.name = "exaone4", .scanners = {kGpt2}},
    {.name = "mpt", .scanners = {kGpt2}, .nfc = true},
    {.name = "olmo", .scanners = {kGpt2}, .nfc = true},
    {.name = "jais", .scanners = {kGpt2}},
    {.name = "trillion", .scanners = {kGpt2}},
    {.name = "granite-docling", .scanners = {kGpt2}},
    {.name = "starcoder", .scanners = kDigitsGpt2},
    {.name = "refact", .scanners = kDigitsGpt2},
    {.name = "command-r", .scanners = kDigitsGpt2, .nfc = true},
    {.name = "smollm", .scanners = kDigitsGpt2},
    {.name = "codeshell", .scanners = kDigitsGpt2},
    {.name = "exaone", .scanners = kDigitsGpt2},
    {.name = "minerva-7b", .scanners = kDigitsGpt2},
    {.name = "mellum2", .scanners = kDigitsGpt2},
    {.name = "llama3", .scanners = {kLlama3}, .ignore_merges = true, .add_bos = true},
    {.name = "llama-v3", .scanners = {kLlama3}, .ignore_merges = true, .add_bos = true},
    {.name = "llama-bpe", .scanners = {kLlama3}, .ignore_merges = true, .add_bos = true},
    {.name = "falcon3", .scanners = {kLlama3}, .ignore_merges = true, .add_bos = true},
    {.name = "falcon-h1", .scanners = {kLlama3}, .ignore_merges = true, .add_bos = true},
    {.name = "pixtral", .scanners = {kLlama3}, .ignore_merges = true, .add_bos = true},
    {.name = "midm-2.0", .scanners = {kLlama3}, .ignore_merges = true, .add_bos = true},
    {.name = "lfm2", .scanners = {kLlama3}, .ignore_merges = true, .add_bos = true},
    {.name = "jina-v5-nano", .scanners = {kLlama3}, .ignore_merges = true, .add_bos = true},
    {.name = "dbrx", .scanners = {kLlama3}},
    {.name = "smaug-bpe", .scanners = {kLlama3}},
    {.name = "glm4", .scanners = {kLlama3}},
    {.name = "chatglm-bpe", .scanners = {kLlama3}},
    {.name = "jais-2", .scanners = {kJais2}},
    {.name = "minicpm5", .scanners = {scan_numbers3, kManyDigits}, .ignore_merges = true},
    {.name = "qwen2", .scanners = {kQwen2}, .nfc = true},
    {.name = "deepseek-r1-qwen", .scanners = {kQwen2}, .nfc = true},
    {.name = "megrez", .scanners = {kQwen2}, .nfc = true},
    {.name = "kormo", .scanners = {kQwen2}},
    {.name = "f2llmv2", .scanners = {kQwen2}, .nfc = true},
    {.name = "stablelm2", .scanners = {kQwen2}},
    {.name = "hunyuan", .scanners = {kQwen2}},
    {.name = "solar-open", .scanners = {kQwen2}},
    {.name = "grok-2", .scanners = {kQwen2}},
    {.name = "bailingmoe", .scanners = {kQwen2}},
    {.name = "bailingmoe2", .scanners = {kQwen2}},
    {.name = "llada-moe", .scanners = {kQwen2}},
    {.name = "laguna", .scanners = {scan_lines, kQwen2}},
    {.name = "qwen35", .scanners = {kQwen35}, .nfc = true},
    {.name = "seed-coder", .scanners = {kSeedCoder}},
    {.name = "ufakzeka", .scanners = {kNoContractions}},
    {.name = "exaone-moe", .scanners = {kExaoneMoe}},
    {.name = "gpt-4o", .scanners = {kGpt4o}},
    {.name = "llama4", .scanners = {kGpt4o}},
    {.name = "kanana2", .scanners = {kGpt4o}},
    {.name = "talkie", .scanners = {kGpt4o}},
    {.name = "minimax-m2", .scanners = {kGpt4o}},
    {.name = "granite-embed-multi-97m", .scanners = {kGpt4o}, .ignore_merges = true},
    {.name = "tekken", .scanners = {kTekken}, .ignore_merges = true, .add_bos = true},
    {.name = "tiny_aya", .scanners = {scan_digit_groups<set_of(kNd), true>, kGpt4o}},
    {.name = "cohere2moe", .scanners = {scan_digit_groups<set_of(kNd), true>, kGpt4o}},
    {.name = "kimi-k2", .scanners = {kKimi}},
    {.name = "youtu", .scanners = {scan_youtu, kYoutuWords}, .ignore_merges = true},
    {.name = "deepseek-llm",
     .scanners = {scan_ranges<kLineBreaks, false, false>, scan_ranges<kDeepseekLetters, true, true>,
                  scan_ranges<kDeepseekPunctuation, true, true>, scan_trailing_space, scan_ranges<kDeepseekCjk, false, true>,
                  kNumberRun}},
    {.name = "deepseek-coder",
     .scanners = {scan_ranges<kLineBreaks, false, false>,
                  [](const char* p, const char* end, ScanContext& c) -> size_t {  // \s?\p{L}+
                    const Unit unit = unit_at(p, end, c.basic_plane);
                    const char* q = unit.in(kWhiteSpace) ? p + unit.bytes : p;
                    const char* e = run_of<kLetters>(q, end, c.basic_plane);
                    return e == q ? 0 : static_cast<size_t>(e - p);
                  },
                  [](const char* p, const char* end, ScanContext& c) -> size_t {  // \s?\p{P}+
                    const Unit unit = unit_at(p, end, c.basic_plane);
                    const char* q = unit.in(kWhiteSpace) ? p + unit.bytes : p;
                    const char* e = run_of<kPunctuation>(q, end, c.basic_plane);
                    return e == q ? 0 : static_cast<size_t>(e - p);
                  },
                  scan_ranges<kDeepseekCjk, false, true>, kOneNumber}},
    {.name = "deepseek-v3", .scanners = kDeepseek3Chain},
    {.name = "hunyuan-dense", .scanners = kDeepseek3Chain},
    {.name = "hy_v4", .scanners = kDeepseek3Chain},
    {.name = "joyai-llm", .scanners = kDeepseek3Chain},
    {.name = "spark2_5", .scanners = {scan_numbers3, kHanKanaRun, scan_deepseek3<true>, kOneNumber}},
    {.name = "afmoe",
     .scanners = {scan_digit_groups<kNumbers, false>, scan_ranges<kAfmoeAsian, false, true>, kDeepseek3}},
    {.name = "falcon", .scanners = {scan_falcon_punctuation<true>, kGpt2, scan_three_digits}},
    {.name = "bloom", .scanners = {scan_bloom}},
    {.name = "poro-chat", .scanners = {scan_bloom}},
    {.name = "gpt3-finnish", .scanners = {scan_bloom}},
    {.name = "viking", .scanners = {scan_bloom, kOneNumber}},
    {.name = "superbpe", .scanners = {kNumberRun, scan_digit_cuts}},
    {.name = "chameleon",
     .scanners = {scan_chameleon_sentinel, scan_chameleon_image, scan_chameleon_spaces, kOneNumber,
                  scan_punctuation<false>, kGpt2},
     .add_bos = true},
    {.name = "gemma4", .add_bos = true, .spaces_as_markers = true},
    {.name = "granite-embed-multi-311m", .spaces_as_markers = true},
    {.name = "sarvam-moe", .spaces_as_markers = true},
});
// clang-format on

struct PatternRow {
  std::string_view pattern;
  ScannerChain scanners;
};

#define KVASIR_CASED(contraction)                                                               \
  R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)" contraction \
  R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)" contraction
#define KVASIR_SLASHED_TAIL R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
#define KVASIR_TAIL R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
#define KVASIR_ANY_CASE "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define KVASIR_SPELLED_CASE "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"

// Patterns of published tokenizer.json files, exactly as they stand there.
constexpr auto kPatterns = std::to_array<PatternRow>({
    {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", {kGpt2}},
    {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))", {kGpt2}},
    {KVASIR_ANY_CASE R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})" KVASIR_TAIL, {kLlama3}},
    {KVASIR_SPELLED_CASE R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})" KVASIR_TAIL, {kLlama3}},
    {KVASIR_ANY_CASE R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})" KVASIR_TAIL, {kQwen2}},
    {KVASIR_SPELLED_CASE R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})" KVASIR_TAIL, {kQwen2}},
    {KVASIR_ANY_CASE R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+)" KVASIR_TAIL, {kManyDigits}},
    {KVASIR_ANY_CASE
     R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     {kQwen35}},
    {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)",
     {kQwen2}},
    {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)",
     {kLlama3}},
    {R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N})" KVASIR_TAIL, {kNoContractions}},
    {KVASIR_CASED("(?i:'s|'t|'re|'ve|'m|'ll|'d)?") R"(|\p{N}{1,3})" KVASIR_SLASHED_TAIL, {kGpt4o}},
    {KVASIR_CASED("(?i:'s|'t|'re|'ve|'m|'ll|'d)?") R"(|\p{N})" KVASIR_SLASHED_TAIL, {kYoutuWords}},
    {KVASIR_CASED("") R"(|\p{N})" KVASIR_SLASHED_TAIL, {kTekken}},
    {R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^)"
     "\r\n"
     R"(\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[)"
     "\r\n"
     R"(]*|\s*[)"
     "\r\n"
     R"(]+|\s+(?!\S)|\s+)",
     {kDeepseek3}},
    {R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     {kDeepseek3}},
    {"[\xE4\xB8\x80-\xE9\xBE\xA5\xE3\x81\x80-\xE3\x82\x9F\xE3\x82\xA0-\xE3\x83\xBF]+", {kHanKanaRun}},
    {R"(\p{N}{1,3})", {scan_numbers3}},
    {R"(\d{1,3}(?=(?:\d{3})*\b))", {scan_digit_groups<set_of(kNd), true>}},
    {R"(\p{N})", {kOneNumber}},
    {R"(\p{N}+)", {kNumberRun}},
    {"[0-9][0-9][0-9]", {scan_three_digits}},
    {"[0-9]", {scan_ranges<kAsciiDigits, false, false>}},
    {"[\r\n]", {scan_ranges<kLineBreaks, false, false>}},
    {R"([\r\n])", {scan_ranges<kLineBreaks, false, false>}},
});

}  // namespace

const PreTokenizer* find_pretokenizer(std::string_view name) {
  if (name.empty()) name = "default";
  const auto row = std::find_if(kTable.begin(), kTable.end(), [&](const PreTokenizer& r) { return r.name == name; });
  return row == kTable.end() ? nullptr : &*row;
}

std::string pretokenizer_names() {
  std::vector<std::string_view> names;
  for (const PreTokenizer& row : kTable) names.push_back(row.name);
  std::sort(names.begin(), names.end());
  std::string out;
  for (const std::string_view name : names) out.append(out.empty() ? "" : ", ").append(name);
  return out;
}

std::optional<ScannerChain> find_scanners_by_pattern(std::string_view pattern) {
  for (const PatternRow& row : kPatterns) {
    if (row.pattern == pattern) return row.scanners;
  }
  return std::nullopt;
}

Scanner gpt2_scanner() {
  return kGpt2;
}
Scanner single_number_scanner() {
  return kOneNumber;
}
Scanner number_run_scanner() {
  return kNumberRun;
}
Scanner punctuation_scanner() {
  return scan_punctuation<false>;
}
Scanner punctuation_run_scanner() {
  return scan_punctuation<true>;
}

}  // namespace kvasir::text
