#include "core/engine/message_codec.h"

#include <catch2/catch.hpp>

#include <random>

#include "core/engine/message_fields.h"

using namespace kvasir;

namespace {

/// Fills every field of a message with something, so that a forgotten one shows.
class Filler {
 public:
  explicit Filler(uint32_t seed) : random_(seed) {}
  template <class... T>
  void operator()(T&... values) { (fill(values), ...); }

  template <class T>
    requires std::is_arithmetic_v<T>
  void fill(T& value) { value = static_cast<T>(random_() % 100'000 + 1); }
  void fill(bool& value) { value = random_() % 2 == 0; }
  template <class T>
    requires std::is_enum_v<T>
  void fill(T& value) { value = static_cast<T>(random_() % (last_of(T{}) + 1U)); }
  void fill(std::string& text) {
    text.resize(random_() % 6);
    for (char& c : text) c = static_cast<char>(random_());
  }
  template <class T>
  void fill(std::vector<T>& values) {
    values.resize(random_() % 4);
    for (T& value : values) fill(value);
  }
  template <class A, class B>
  void fill(std::pair<A, B>& pair) { (*this)(pair.first, pair.second); }
  template <class T>
  void fill(std::optional<T>& value) {
    value.reset();
    if (random_() % 2 == 0) fill(value.emplace());
  }
  template <class... T>
  void fill(std::variant<T...>& value) { std::visit([this](auto& body) { this->fill(body); }, value); }
  template <class T>
    requires requires(Filler& f, T& m) { fields(f, m); }
  void fill(T& message) { fields(*this, message); }

 private:
  std::mt19937 random_;
};

template <class Variant, size_t I = 0, class Function>
void for_each_alternative(Function function) {
  if constexpr (I < std::variant_size_v<Variant>) {
    function(Variant(std::in_place_index<I>));
    for_each_alternative<Variant, I + 1>(function);
  }
}

/// Every kind of command and event, filled at random.
template <class Function>
void for_each_message(uint32_t seed, Function function) {
  for_each_alternative<CommandBody>([&](CommandBody body) {
    Command command{.engine = {}, .body = std::move(body)};
    Filler(seed++).fill(command);
    function(command, decode_command);
  });
  for_each_alternative<Event>([&](Event event) {
    Filler(seed++).fill(event);
    function(event, decode_event);
  });
}

}  // namespace

TEST_CASE("every message comes back as it went") {
  for (uint32_t seed = 0; seed < 2000; seed += 100) {
    for_each_message(seed, [](const auto& message, auto decode) {
      const std::string bytes = encode(message);
      const auto back = decode(bytes);
      REQUIRE(back);
      REQUIRE(encode(*back) == bytes);
    });
  }
}

TEST_CASE("fields land where they belong") {
  Generate what;
  what.id = 7;
  what.prompt.messages = {{"user", "hi", "{}"}};
  what.sampling.top_k = 3;
  what.sampling.logit_bias = {{5, -1.5F}};
  what.stop = {"a", ""};
  what.ignore_eos = true;
  const auto back = decode_command(encode(Command{.engine = {.model = "m", .kv_type = KvType::kF32}, .body = what}));
  REQUIRE(back);
  CHECK(back->engine.model == "m");
  CHECK(back->engine.kv_type == KvType::kF32);
  const auto& got = std::get<Generate>(back->body);
  CHECK(got.id == 7);
  CHECK(got.prompt.messages.at(0).content == "hi");
  CHECK(got.prompt.messages.at(0).json == "{}");
  CHECK(got.sampling.top_k == 3U);
  CHECK_FALSE(got.sampling.temperature);
  CHECK(got.sampling.logit_bias.at(0).second == -1.5F);
  CHECK(got.stop == std::vector<std::string>{"a", ""});
  CHECK(got.ignore_eos);
  CHECK_FALSE(got.want_logprobs);
  const auto failed = decode_event(encode(Event(Failed{.id = 3, .code = Code::kBusy, .message = "x", .retry_after_ms = 9})));
  CHECK(std::get<Failed>(*failed).code == Code::kBusy);
  CHECK(std::get<Failed>(*failed).retry_after_ms == 9);
}

TEST_CASE("a message cut at any byte is refused, and so is one with more") {
  for_each_message(4, [](const auto& message, auto decode) {
    const std::string bytes = encode(message);
    for (size_t size = 0; size < bytes.size(); ++size) {
      const auto cut = decode(std::string_view(bytes).substr(0, size));
      REQUIRE_FALSE(cut);
      REQUIRE(cut.error().code == Code::kCorrupt);
    }
    REQUIRE(decode(bytes + '\0').error().code == Code::kCorrupt);
  });
}

TEST_CASE("damaged bytes never do more than be refused") {
  std::mt19937 random(1);
  for_each_message(9, [&](const auto& message, auto decode) {
    const std::string bytes = encode(message);
    for (int i = 0; i < 300; ++i) {
      std::string damaged = bytes;
      damaged[random() % damaged.size()] = static_cast<char>(random());
      damaged[random() % damaged.size()] = '\xFF';
      if (const auto back = decode(damaged)) REQUIRE(encode(*back).size() == damaged.size());
    }
  });
}

TEST_CASE("a count beyond the message allocates nothing") {
  Detokenize what;
  std::string bytes = encode(Command{.engine = {}, .body = what});
  for (size_t i = 0; i < 8; ++i) bytes[bytes.size() - 8 + i] = '\x7F';
  CHECK(decode_command(bytes).error().message.find("longer than the message") != std::string::npos);
}

TEST_CASE("another format version is named") {
  std::string bytes = encode(Event(Ready{}));
  bytes[0] = kMessageFormat + 1;
  const auto refused = decode_event(bytes);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::kUnsupported);
}
