#include "rpc/net/ws_codec.h"

#include <algorithm>
#include <websocketpp/base64/base64.hpp>
#include <websocketpp/close.hpp>
#include <websocketpp/extensions/permessage_deflate/disabled.hpp>
#include <websocketpp/http/request.hpp>
#include <websocketpp/http/response.hpp>
#include <websocketpp/message_buffer/message.hpp>
#include <websocketpp/processors/hybi13.hpp>
#include <websocketpp/random/none.hpp>
#include <websocketpp/sha1/sha1.hpp>

namespace kvasir::rpc::ws {
namespace {

namespace wpp = websocketpp;

constexpr size_t kFirstReserveBytes = 4096;
constexpr size_t kMaxReasonBytes = 123;
constexpr size_t kKeyTextBytes = 24;
constexpr size_t kKeyBytes = 16;

/// Makes message buffers. Unlike the library's own it does not reserve what a frame header merely declares.
template <class MessageType>
class BufferMaker : public std::enable_shared_from_this<BufferMaker<MessageType>> {
 public:
  using ptr = std::shared_ptr<BufferMaker>;
  using weak_ptr = std::weak_ptr<BufferMaker>;
  using message_ptr = std::shared_ptr<MessageType>;
  message_ptr get_message() { return std::make_shared<MessageType>(this->shared_from_this()); }
  message_ptr get_message(wpp::frame::opcode::value op, size_t size) {
    return std::make_shared<MessageType>(this->shared_from_this(), op, std::min(size, kFirstReserveBytes));
  }
  bool recycle(MessageType*) { return false; }
};

/// What the processor needs of a configuration: no transport, no loggers, no extensions.
struct Config {
  using request_type = wpp::http::parser::request;
  using response_type = wpp::http::parser::response;
  using message_type = wpp::message_buffer::message<BufferMaker>;
  using con_msg_manager_type = BufferMaker<message_type>;
  using rng_type = wpp::random::none::int_generator<uint32_t>;
  struct permessage_deflate_config {};
  using permessage_deflate_type = wpp::extensions::permessage_deflate::disabled<permessage_deflate_config>;
  static bool const enable_extensions = false;
  static size_t const max_message_size = 0;  // set per codec
};

/// Fed never beyond the current field, so that every frame is seen, also the empty ones inside a fragmented message.
class Processor final : public wpp::processor::hybi13<Config> {
 public:
  using Base = wpp::processor::hybi13<Config>;
  using Base::Base;
  bool at_frame_start() const { return m_state == HEADER_BASIC && m_bytes_needed == wpp::frame::BASIC_HEADER_LENGTH; }
  bool in_message() const { return static_cast<bool>(m_data_msg.msg_ptr); }
};

std::string frame(wpp::frame::opcode::value op, std::string_view payload) {
  const wpp::frame::basic_header basic(op, payload.size(), true, false);
  const wpp::frame::extended_header extended(payload.size());
  std::string out = wpp::frame::prepare_header(basic, extended);
  out.append(payload);
  return out;
}

Kind kind_of(wpp::frame::opcode::value op) {
  switch (op) {
    case wpp::frame::opcode::text: return Kind::kText;
    case wpp::frame::opcode::ping: return Kind::kPing;
    case wpp::frame::opcode::pong: return Kind::kPong;
    case wpp::frame::opcode::close: return Kind::kClose;
    default: return Kind::kBinary;
  }
}

}  // namespace

struct Codec::Impl {
  Impl(size_t max_message_bytes, uint32_t max_frames)
      : processor(false, true, std::make_shared<Config::con_msg_manager_type>(), random), max_fragments(max_frames) {
    processor.set_max_message_size(max_message_bytes);
  }
  Status fault(uint16_t code, std::string_view reason) {
    fault_code = code;
    fault_reason = reason;
    return Status::kFault;
  }
  Status fault(const std::error_code& ec) {
    using namespace wpp::processor::error;
    if (ec == make_error_code(invalid_utf8) || ec == make_error_code(invalid_payload)) {
      return fault(kInvalidPayload, "text that is not UTF-8");
    }
    if (ec == make_error_code(message_too_big)) return fault(kTooBig, "message too big");
    return fault(kProtocolError, "malformed frame");
  }

  Config::rng_type random;
  Processor processor;
  uint32_t max_fragments;
  uint32_t fragments = 0;
  uint16_t fault_code = 0;
  std::string_view fault_reason;  // of a literal
};

Codec::Codec(size_t max_message_bytes, uint32_t max_fragments) : impl_(std::make_unique<Impl>(max_message_bytes, max_fragments)) {}
Codec::~Codec() = default;
Codec::Codec(Codec&&) noexcept = default;
Codec& Codec::operator=(Codec&&) noexcept = default;

Codec::Status Codec::consume(char* data, size_t size, size_t& used, Message& out) {
  Impl& impl = *impl_;
  used = 0;
  if (impl.fault_code != 0) return Status::kFault;
  while (used < size) {
    const size_t piece = std::min(impl.processor.get_bytes_needed(), size - used);
    std::error_code ec;
    used += impl.processor.consume(reinterpret_cast<uint8_t*>(data + used), piece, ec);
    if (ec) return impl.fault(ec);
    if (impl.processor.ready()) {
      const auto message = impl.processor.get_message();
      out.kind = kind_of(message->get_opcode());
      out.payload = std::move(message->get_raw_payload());
      if (out.kind == Kind::kText || out.kind == Kind::kBinary) impl.fragments = 0;
      return Status::kMessage;
    }
    if (impl.processor.at_frame_start() && impl.processor.in_message() && ++impl.fragments > impl.max_fragments) {
      return impl.fault(kPolicyViolation, "too many fragments");
    }
  }
  return Status::kNeedMore;
}

uint16_t Codec::fault_code() const noexcept { return impl_->fault_code; }
std::string_view Codec::fault_reason() const noexcept { return impl_->fault_reason; }
bool Codec::idle() const noexcept { return impl_->processor.at_frame_start() && !impl_->processor.in_message(); }

std::string text_frame(std::string_view payload) { return frame(wpp::frame::opcode::text, payload); }
std::string pong_frame(std::string_view payload) { return frame(wpp::frame::opcode::pong, payload); }
std::string ping_frame(std::string_view payload) { return frame(wpp::frame::opcode::ping, payload); }

std::string close_frame(uint16_t code, std::string_view reason) {
  std::string body;
  if (code != kNoStatus) {
    body += static_cast<char>(code >> 8);
    body += static_cast<char>(code & 0xFF);
    body += reason.substr(0, kMaxReasonBytes);
  }
  return frame(wpp::frame::opcode::close, body);
}

uint16_t close_reply(const std::string& payload) {
  std::error_code ec;
  const auto code = wpp::close::extract_code(payload, ec);
  if (ec) return kProtocolError;
  wpp::close::extract_reason(payload, ec);
  if (ec) return kProtocolError;
  return code == wpp::close::status::no_status ? uint16_t{kNoStatus} : static_cast<uint16_t>(code);
}

std::string accept_value(std::string_view key) {
  if (key.size() != kKeyTextBytes || key.substr(kKeyTextBytes - 2) != "==" || key.find('=') != kKeyTextBytes - 2) return {};
  const std::string text(key);
  const std::string raw = wpp::base64_decode(text);
  if (raw.size() != kKeyBytes) return {};
  return wpp::base64_encode(sha1(text + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
}

std::string sha1(std::string_view text) {
  unsigned char digest[20];
  wpp::sha1::calc(text.data(), text.size(), digest);
  return std::string(reinterpret_cast<char*>(digest), sizeof(digest));
}

}  // namespace kvasir::rpc::ws
