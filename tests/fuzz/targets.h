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
void template_trust(std::string_view bytes);  ///< the same over a fixed conversation whose text must never be trusted
void tokenizer(std::string_view bytes);       ///< core/text: text through small vocabularies, or a vocabulary and text
void tokenizer_json(std::string_view bytes);  ///< core/text: a tokenizer.json, then encodes and decodes
void sentencepiece(std::string_view bytes);   ///< core/text: a tokenizer.model
void safetensors(std::string_view bytes);     ///< core/model/hf: one file
/// core/model/hf: config.json, NUL, index.json (or nothing), NUL, header of the safetensors, NUL, its data.
void model_folder(std::string_view bytes);

}  // namespace kvasir::fuzz
