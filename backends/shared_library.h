// A library opened while the program runs: backend plugins, and what a plugin itself opens only where it is there. Never
// closed again: its threads may still run. Symbols stay local to the library. Thread-compatible.
#pragma once

#include <string>

#include "core/base/result.h"

namespace kvasir {

class SharedLibrary {
 public:
  SharedLibrary() = default;
  /// `path`: with a folder, or a name that the system's linker finds. Errors: kUnavailable, with the linker's words.
  static Result<SharedLibrary> open(const std::string& path);
  /// Null if there is no such symbol.
  void* symbol(const char* name) const noexcept;
  explicit operator bool() const noexcept { return handle_ != nullptr; }

 private:
  void* handle_ = nullptr;
};

}  // namespace kvasir
