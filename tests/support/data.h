// Where test data comes from. The repository stands alone: what is absent is skipped and counted, by name.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace kvasir::test {

/// A file of ../shared/data (or $KVASIR_SHARED_DATA); nothing if that folder is not beside the checkout.
std::optional<std::filesystem::path> shared_data(std::string_view relative);
/// A committed fixture below tests/data.
std::filesystem::path fixture(std::string_view relative);
/// The default model's GGUF ($KVASIR_TEST_MODEL, else the data folder's models); nothing if it was not fetched.
std::optional<std::filesystem::path> default_model();
/// Writes the line `SKIP <what>` that `./x test` counts.
void report_skip(std::string_view what);
/// How many skips this process has reported.
unsigned skips_reported();
std::string read_file(const std::filesystem::path& path);

}  // namespace kvasir::test

/// Ends the test case as skipped (and counted) unless the optional path is there: `auto p =
/// KVASIR_NEEDS(shared_data("vocab"));`
#define KVASIR_NEEDS(expression)                \
  __extension__({                               \
    auto kvasir_path_ = (expression);           \
    if (!kvasir_path_) {                        \
      ::kvasir::test::report_skip(#expression); \
      return;                                   \
    }                                           \
    *kvasir_path_;                              \
  })
