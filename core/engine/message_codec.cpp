#include "core/engine/message_codec.h"

#include <cstdio>
#include <cstdlib>
#include <type_traits>
#include <utility>

#include "core/base/bytes.h"
#include "core/engine/message_fields.h"

namespace kvasir {
namespace {

class Writer {
 public:
  template <class... T>
  void operator()(T&... values) { (write(values), ...); }
  std::string take() { return std::move(out_); }

 private:
  template <class T>
    requires std::is_arithmetic_v<T>
  void write(T& value) { out_.append(reinterpret_cast<const char*>(&value), sizeof(T)); }
  void write(bool& value) { out_ += value ? '\1' : '\0'; }
  template <class T>
    requires std::is_enum_v<T>
  void write(T& value) { out_ += static_cast<char>(value); }
  void write(std::string& text) {
    write_count(text.size());
    out_ += text;
  }
  template <class T>
  void write(std::vector<T>& values) {
    write_count(values.size());
    for (T& value : values) write(value);
  }
  template <class A, class B>
  void write(std::pair<A, B>& pair) { (*this)(pair.first, pair.second); }
  template <class T>
  void write(std::optional<T>& value) {
    bool present = value.has_value();
    write(present);
    if (value) write(*value);
  }
  template <class... T>
  void write(std::variant<T...>& value) {
    out_ += static_cast<char>(value.index());
    std::visit([this](auto& body) { this->write(body); }, value);
  }
  template <class T>
    requires requires(Writer& w, T& m) { fields(w, m); }
  void write(T& message) { fields(*this, message); }
  void write_count(uint64_t count) { write(count); }

  std::string out_;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : in_(std::as_bytes(std::span(bytes))) {}
  template <class... T>
  void operator()(T&... values) { (read(values), ...); }
  /// The first thing that was wrong.
  const char* error() const noexcept { return error_; }
  size_t offset() const noexcept { return in_.offset(); }
  size_t remaining() const noexcept { return in_.remaining(); }

 private:
  void fail(const char* what) {
    if (error_ == nullptr) error_ = what;
  }
  template <class T>
    requires std::is_arithmetic_v<T>
  void read(T& value) {
    const auto got = error_ == nullptr ? in_.read<T>() : std::nullopt;
    got ? void(value = *got) : fail("the message ends too early");
  }
  void read(bool& value) {
    uint8_t byte = 0;
    read(byte);
    if (byte > 1) fail("a flag is neither 0 nor 1");
    value = byte == 1;
  }
  template <class T>
    requires std::is_enum_v<T>
  void read(T& value) {
    uint8_t byte = 0;
    read(byte);
    if (byte > last_of(T{})) return fail("an enumeration is out of range");
    value = static_cast<T>(byte);
  }
  void read(std::string& text) {
    const auto got = in_.read_bytes(read_count());
    got ? void(text = *got) : fail("the message ends too early");
  }
  template <class T>
  void read(std::vector<T>& values) {
    // Every element takes at least one byte, so a count beyond the rest is a lie; growth follows what was really read.
    const uint64_t count = read_count();
    if (count > in_.remaining()) return fail("a list is longer than the message");
    for (uint64_t i = 0; i < count && error_ == nullptr; ++i) read(values.emplace_back());
  }
  template <class A, class B>
  void read(std::pair<A, B>& pair) { (*this)(pair.first, pair.second); }
  template <class T>
  void read(std::optional<T>& value) {
    bool present = false;
    read(present);
    if (present && error_ == nullptr) read(value.emplace());
  }
  template <class... T>
  void read(std::variant<T...>& value) {
    uint8_t index = 0;
    read(index);
    if (index >= sizeof...(T)) return fail("an unknown kind of message");
    read_alternative(value, index, std::index_sequence_for<T...>{});
  }
  template <class V, size_t... I>
  void read_alternative(V& value, size_t index, std::index_sequence<I...>) {
    ((index == I ? read(value.template emplace<I>()) : void()), ...);
  }
  template <class T>
    requires requires(Reader& r, T& m) { fields(r, m); }
  void read(T& message) { fields(*this, message); }
  uint64_t read_count() {
    uint64_t count = 0;
    read(count);
    return count;
  }

  ByteReader in_;
  const char* error_ = nullptr;
};

template <class T>
std::string encode_any(const T& message) {
  Writer writer;
  uint8_t format = kMessageFormat;
  writer(format, const_cast<T&>(message));  // a writer reads only; one field list serves both directions
  return writer.take();
}

template <class T>
Result<T> decode_any(std::string_view bytes) {
  if (bytes.size() > kMaxMessageBytes) return Failure{Code::kTooLarge, "a message of " + std::to_string(bytes.size()) + " bytes"};
  Reader reader(bytes);
  uint8_t format = 0;
  reader(format);
  if (reader.error() == nullptr && format != kMessageFormat) {
    return Failure{Code::kUnsupported, "message format " + std::to_string(format) + "; this build speaks " +
                                           std::to_string(kMessageFormat)};
  }
  T message;
  if (reader.error() == nullptr) reader(message);
  const char* error = reader.error();
  if (error == nullptr && reader.remaining() > 0) error = "bytes are left over";
  if (error != nullptr) return Failure{Code::kCorrupt, std::string(error) + " at byte " + std::to_string(reader.offset())};
  return message;
}

template <class T>
T survive(Result<T> decoded) {
  if (decoded) return std::move(*decoded);
  std::fprintf(stderr, "a message does not survive its codec: %s\n", decoded.error().message.c_str());
  std::abort();
}

class CodecEngine final : public Engine {
 public:
  explicit CodecEngine(std::unique_ptr<Engine> inner) : inner_(std::move(inner)) {}
  bool send(Command command) override { return inner_->send(survive(decode_command(encode(command)))); }
  std::optional<Event> poll() override {
    const auto event = inner_->poll();
    if (!event) return std::nullopt;
    return survive(decode_event(encode(*event)));
  }
  void set_wake(std::function<void()> wake) override { inner_->set_wake(std::move(wake)); }
  void shutdown() override { inner_->shutdown(); }
  EngineMetrics metrics() const override { return inner_->metrics(); }

 private:
  std::unique_ptr<Engine> inner_;
};

}  // namespace

std::string encode(const Command& command) { return encode_any(command); }
std::string encode(const Event& event) { return encode_any(event); }
Result<Command> decode_command(std::string_view bytes) { return decode_any<Command>(bytes); }
Result<Event> decode_event(std::string_view bytes) { return decode_any<Event>(bytes); }

std::unique_ptr<Engine> make_codec_engine(std::unique_ptr<Engine> inner) {
  return std::make_unique<CodecEngine>(std::move(inner));
}

}  // namespace kvasir
