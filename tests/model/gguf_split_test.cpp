// Models that come in several GGUF files: any part names the whole, the whole computes what one file would, and a set
// that does not fit together is refused with the file at fault.
#include <catch2/catch.hpp>
#include <cstdio>

#include "core/model/gguf_file.h"
#include "tests/model/gguf_writer.h"
#include "tests/model/runner.h"
#include "tests/model/temporary_folder.h"
#include "tests/support/data.h"

using namespace kvasir;
using namespace kvasir::test;
namespace fs = std::filesystem;

namespace {

std::string part_name(uint32_t number, uint32_t count, const char* stem = "big") {
  char text[64];
  std::snprintf(text, sizeof text, "%s-%05u-of-%05u.gguf", stem, number, count);
  return text;
}

void add_split_keys(GgufWriter& out, uint32_t number, uint32_t count, size_t tensors) {
  out.number16("split.no", static_cast<uint16_t>(number - 1));
  out.number16("split.count", static_cast<uint16_t>(count));
  out.signed_number("split.tensors.count", static_cast<int32_t>(tensors));
}

/// As llama-gguf-split writes: metadata in the first part alone; here the first has tensors too, in turn.
void split(const ModelFile& whole, const fs::path& folder, uint32_t count) {
  for (uint32_t number = 1; number <= count; ++number) {
    GgufWriter out;
    add_split_keys(out, number, count, whole.tensors().size());
    if (number == 1) out.copy(whole.metadata());
    for (size_t i = number - 1; i < whole.tensors().size(); i += count) out.tensor(whole.tensors()[i]);
    out.write(folder / part_name(number, count));
  }
}

Error refused(const fs::path& path) {
  const auto model = describe_model(path.string());
  REQUIRE_FALSE(model);
  return model.error();
}

bool mentions(const Error& error, const std::string& text) {
  return error.message.find(text) != std::string::npos;
}

/// A split set in a folder of its own, to be broken.
struct Set {
  explicit Set(const fs::path& file) : whole(std::move(*ModelFile::open(file.string()))) { split(*whole, path(), 3); }
  fs::path path() const { return folder.path(); }
  fs::path part(uint32_t number) const { return path() / part_name(number, 3); }

  TemporaryFolder folder;
  std::unique_ptr<ModelFile> whole;
};

}  // namespace

TEST_CASE("names of parts are read strictly", "[split]") {
  const auto name = parse_gguf_part_name("my-model-00002-of-00013.gguf");
  REQUIRE(name);
  CHECK(name->stem == "my-model");
  CHECK(name->number == 2);
  CHECK(name->count == 13);
  for (const char* other : {"model.gguf", "-00001-of-00002.gguf", "m-0001-of-0002.gguf", "m-00001-of-00002.bin",
                            "m-0000x-of-00002.gguf", "m-00001-to-00002.gguf", "m-00001-of-000002.gguf", ""}) {
    INFO(other);
    CHECK_FALSE(parse_gguf_part_name(other));
  }
}

TEST_CASE("a split model is one model whichever part is named, with the logits of the whole file", "[split]") {
  const auto file = KVASIR_NEEDS(shared_data("tiny-models/llama/model-bf16.gguf"));
  const Set set(file);
  const std::vector<TokenId> tokens = {1, 17, 200, 33, 5, 319, 64};
  Runner whole(file, {});
  const auto expected = whole.run(tokens);
  for (const fs::path& path : {set.part(1), set.part(2), set.part(3), set.path()}) {
    INFO(path);
    Runner runner(path, {});
    CHECK(runner.run(tokens) == expected);
  }
  const auto described = describe_model(set.part(2).string());
  REQUIRE(described);
  CHECK(described->name == "tiny llama");
  CHECK(described->format == "gguf v3 in 3 files");
  CHECK(described->tensors.size() == set.whole->tensors().size());
  CHECK(described->path == set.part(1).string());
  CHECK(described->file_bytes == fs::file_size(set.part(1)) + fs::file_size(set.part(2)) + fs::file_size(set.part(3)));
  CHECK(load_model_text(set.part(3).string()));
}

TEST_CASE("the first part may hold metadata alone", "[split]") {
  const auto file = KVASIR_NEEDS(shared_data("tiny-models/llama/model-bf16.gguf"));
  const auto whole = std::move(*ModelFile::open(file.string()));
  const TemporaryFolder folder;
  GgufWriter first, second;
  add_split_keys(first, 1, 2, whole->tensors().size());
  first.copy(whole->metadata()).write(folder.path() / part_name(1, 2));
  add_split_keys(second, 2, 2, whole->tensors().size());
  for (const FileTensor& tensor : whole->tensors()) second.tensor(tensor);
  second.write(folder.path() / part_name(2, 2));
  CHECK(describe_model((folder.path() / part_name(1, 2)).string()));
}

TEST_CASE("a missing part is named, whichever it is", "[split]") {
  const auto file = KVASIR_NEEDS(shared_data("tiny-models/llama/model-bf16.gguf"));
  for (const uint32_t missing : {1U, 2U, 3U}) {
    const Set set(file);
    fs::remove(set.part(missing));
    for (const fs::path& path : {set.part(1), set.part(3), set.path()}) {
      const Error error = refused(path);
      INFO(error.message);
      CHECK(error.code == Code::kNotFound);
      CHECK(mentions(error, part_name(missing, 3)));
      CHECK(mentions(error, "missing"));
    }
  }
}

TEST_CASE("parts that do not belong together are refused with the file at fault", "[split]") {
  const auto file = KVASIR_NEEDS(shared_data("tiny-models/llama/model-bf16.gguf"));
  const auto other = KVASIR_NEEDS(shared_data("tiny-models/qwen3/model-bf16.gguf"));
  const Set set(file);
  const auto refused_with = [&](uint32_t part, const std::string& why) {
    const Error error = refused(set.part(1));
    INFO(error.message);
    CHECK(error.code == Code::kCorrupt);
    CHECK(mentions(error, part_name(part, 3)));
    CHECK(mentions(error, why));
  };
  SECTION("the same part twice") {
    fs::copy_file(set.part(2), set.part(3), fs::copy_options::overwrite_existing);
    refused_with(3, "part 2 of 3");
  }
  SECTION("a part of another model") {
    const Set foreign(other);
    fs::copy_file(foreign.part(2), set.part(2), fs::copy_options::overwrite_existing);
    refused_with(2, "split.tensors.count");
  }
  SECTION("the same tensor in two parts") {
    GgufWriter out;
    const auto& tensors = set.whole->tensors();
    add_split_keys(out, 3, 3, tensors.size());
    out.tensor(tensors[0]);  // instead of the first of its own
    for (size_t i = 5; i < tensors.size(); i += 3) out.tensor(tensors[i]);
    out.write(set.part(3));
    refused_with(3, "twice");
  }
  SECTION("a tensor is nowhere") {
    GgufWriter out;
    add_split_keys(out, 3, 3, set.whole->tensors().size());
    out.write(set.part(3));
    refused_with(1, "split.tensors.count says");
  }
  SECTION("a part beyond the count") {
    fs::copy_file(set.part(2), set.part(4));
    refused_with(4, "surplus");
  }
  SECTION("a part of a model with another architecture") {
    GgufWriter out;
    add_split_keys(out, 3, 3, set.whole->tensors().size());
    out.text("general.architecture", "qwen3").write(set.part(3));
    refused_with(3, "general.architecture");
  }
  SECTION("a part without split keys") {
    GgufWriter().write(set.part(3));
    refused_with(3, "part 1 of 1");
  }
  SECTION("a part that is cut off") {
    fs::resize_file(set.part(3), fs::file_size(set.part(3)) / 2);
    refused_with(3, "cut off");
  }
  SECTION("a part that is no GGUF file") {
    fs::resize_file(set.part(2), 0);
    refused_with(2, "ends inside its header");
  }
}

TEST_CASE("a part under a strange name, or of a huge set, is refused at once", "[split]") {
  const auto file = KVASIR_NEEDS(shared_data("tiny-models/llama/model-bf16.gguf"));
  const Set set(file);
  const fs::path renamed = set.path() / "model.gguf";
  fs::rename(set.part(1), renamed);
  CHECK(mentions(refused(renamed), "-00001-of-00003.gguf"));
  const fs::path huge = set.path() / part_name(1, 65'535);
  GgufWriter out;
  out.number("split.no", 0).number("split.count", 65'535).signed_number("split.tensors.count", 1).write(huge);
  CHECK(refused(huge).code == Code::kTooLarge);
}

TEST_CASE("a folder with several models asks which, one with none says so", "[split]") {
  const auto file = KVASIR_NEEDS(shared_data("tiny-models/llama/model-bf16.gguf"));
  const Set set(file);
  fs::copy_file(file, set.path() / "small.gguf");
  const Error several = refused(set.path());
  CHECK(several.code == Code::kInvalidArgument);
  CHECK(mentions(several, "small.gguf"));
  CHECK(mentions(several, part_name(1, 3)));
  const TemporaryFolder empty;
  CHECK(mentions(refused(empty.path()), "a directory"));
}
