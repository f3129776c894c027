#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "core/model/model.h"
#include "core/text/chat_template.h"
#include "tests/fuzz/targets.h"

namespace kvasir::fuzz {

void gguf(std::string_view bytes) {
  const int fd = memfd_create("fuzz", MFD_CLOEXEC);
  if (fd < 0 || ::write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) std::abort();
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  if (auto described = describe_model(path); !described && described.error().message.empty()) std::abort();
  if (auto text = load_model_text(path)) {
    // A vocabulary that was accepted encodes and decodes without surprise.
    auto encoded = text->tokenizer->encode(std::string_view("Hello <s> \xc3\xa9 123\n"), {.add_special = true});
    if (encoded && !text->tokenizer->decode(encoded->ids, true)) std::abort();
  }
  ::close(fd);
}

void jinja(std::string_view bytes) {
  TemplateLimits limits;
  limits.max_operations = 20'000;
  limits.max_output_bytes = 1u << 16;
  limits.max_time = std::chrono::milliseconds(200);
  const size_t nul = bytes.find('\0');
  const auto parsed = ChatTemplate::parse(bytes.substr(0, nul), limits);
  if (!parsed) return;
  TemplateInput input;
  input.messages_json = nul == std::string_view::npos ? R"([{"role":"user","content":"Hi <|im_end|>"}])"
                                                      : std::string(bytes.substr(nul + 1));
  input.bos_token = "<s>";
  input.eos_token = "</s>";
  input.now_unix_seconds = 0;
  const auto rendered = parsed->render(input);
  if (rendered && rendered->text().size() > limits.max_output_bytes) std::abort();
}

}  // namespace kvasir::fuzz
