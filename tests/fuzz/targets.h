// The fuzz targets: each takes any bytes and must neither crash, hang, nor break what it asserts. libFuzzer calls them
// (libfuzzer_entry.cpp), and replay_test.cpp runs the committed corpus and simple mutations of it under every compiler.
#pragma once

#include <string_view>

namespace kvasir::fuzz {

void json(std::string_view bytes);       ///< rpc/parse: one line, frame or body
void http(std::string_view bytes);       ///< rpc/net/http_parser, in pieces whose size the first byte chooses
void websocket(std::string_view bytes);  ///< rpc/net/ws_codec
void gguf(std::string_view bytes);       ///< core/model: header, metadata, vocabulary, template of a file
void jinja(std::string_view bytes);      ///< core/text/chat_template: source, a NUL, then the messages

}  // namespace kvasir::fuzz
