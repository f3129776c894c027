// A library that looks like a plugin of another build, or (KVASIR_PLAIN) like no plugin at all.
#include "backends/plugin_abi.h"

#if defined(KVASIR_PLAIN)
extern "C" __attribute__((visibility("default"))) int kvasir_test_nothing() { return 0; }
#else
extern "C" __attribute__((visibility("default"))) const kvasir::BackendPlugin* kvasir_backend_plugin() {
  static const kvasir::BackendPlugin plugin{.abi = "some other build"};
  return &plugin;
}
#endif
