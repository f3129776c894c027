#include "backends/shared_library.h"

#include <dlfcn.h>

namespace kvasir {

Result<SharedLibrary> SharedLibrary::open(const std::string& path) {
  SharedLibrary library;
  library.handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library.handle_ == nullptr) {
    const char* why = dlerror();
    return Failure{Code::kUnavailable, why != nullptr ? why : "cannot be opened"};
  }
  return library;
}

void* SharedLibrary::symbol(const char* name) const noexcept { return dlsym(handle_, name); }

}  // namespace kvasir
