#include "backends/cuda/cublaslt.h"

#include <array>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "backends/shared_library.h"

namespace kvasir::cuda {
namespace {

// Facts of the library's C interface, the same in versions 12 and 13.
using Handle = void*;
using Description = void*;
using Layout = void*;
using Preference = void*;
using Status = int;
constexpr int kReal32 = 0, kReal16 = 2, kRealBf16 = 14, kCompute32 = 68;
constexpr int kTransposeA = 3, kTransposeB = 4;  // attributes of a description
constexpr int32_t kNo = 0, kYes = 1;             // cublasOperation_t
constexpr Status kAllocationFailed = 3;
constexpr int kMaxWorkspace = 1;                 // attribute of a preference
struct Algorithm {
  uint64_t data[8];
};
struct Candidate {
  Algorithm algorithm;
  size_t workspace;
  Status state;
  float waves;
  int reserved[4];
};
static_assert(sizeof(Candidate) == 96);

struct Functions {
  Status (*create)(Handle*);
  Status (*destroy)(Handle);
  size_t (*version)();
  Status (*describe)(Description*, int compute, int scale_type);
  Status (*describe_set)(Description, int attribute, const void* value, size_t bytes);
  Status (*describe_destroy)(Description);
  Status (*layout)(Layout*, int type, uint64_t rows, uint64_t cols, int64_t leading);
  Status (*layout_destroy)(Layout);
  Status (*prefer)(Preference*);
  Status (*prefer_set)(Preference, int attribute, const void* value, size_t bytes);
  Status (*prefer_destroy)(Preference);
  Status (*choose)(Handle, Description, Layout a, Layout b, Layout c, Layout d, Preference, int wanted, Candidate*, int* found);
  Status (*multiply)(Handle, Description, const void* alpha, const void* a, Layout, const void* b, Layout, const void* beta, const void* c, Layout, void* d, Layout,
                     const Algorithm*, void* workspace, size_t workspace_bytes, void* stream);
};

template <class F>
bool find(const SharedLibrary& library, const char* name, F& function) {
  function = reinterpret_cast<F>(library.symbol(name));
  return function != nullptr;
}

bool find_all(const SharedLibrary& l, Functions& f) {
  return find(l, "cublasLtCreate", f.create) && find(l, "cublasLtDestroy", f.destroy) && find(l, "cublasLtGetVersion", f.version) &&
         find(l, "cublasLtMatmulDescCreate", f.describe) && find(l, "cublasLtMatmulDescSetAttribute", f.describe_set) &&
         find(l, "cublasLtMatmulDescDestroy", f.describe_destroy) && find(l, "cublasLtMatrixLayoutCreate", f.layout) &&
         find(l, "cublasLtMatrixLayoutDestroy", f.layout_destroy) && find(l, "cublasLtMatmulPreferenceCreate", f.prefer) &&
         find(l, "cublasLtMatmulPreferenceSetAttribute", f.prefer_set) && find(l, "cublasLtMatmulPreferenceDestroy", f.prefer_destroy) &&
         find(l, "cublasLtMatmulAlgoGetHeuristic", f.choose) && find(l, "cublasLtMatmul", f.multiply);
}

Result<SharedLibrary> open_library() {
  std::vector<std::string> names;
  if (const char* own = std::getenv("KVASIR_CUBLASLT"); own != nullptr && *own != '\0') names = {own};
  else names = {"libcublasLt.so.13", "libcublasLt.so.12", "/usr/local/cuda/lib64/libcublasLt.so"};
  std::string reasons;
  for (const std::string& name : names) {
    auto library = SharedLibrary::open(name);
    if (library) return library;
    reasons += (reasons.empty() ? "" : "; ") + library.error().message;
  }
  return Failure{Code::kUnavailable, "cuBLASLt is not there (" + reasons + ")"};
}

constexpr uint64_t kWorkspaceBytes = uint64_t{64} << 20;

/// What one shape needs; made once.
struct Shape {
  Description description = nullptr;
  Layout w = nullptr, x = nullptr, y = nullptr;
  Candidate candidate{};
};
using Key = std::array<uint64_t, 5>;

class OpenCublasLt final : public CublasLt {
 public:
  ~OpenCublasLt() override {
    for (auto& [key, shape] : shapes_) destroy(shape);
    if (handle_ != nullptr) f_.destroy(handle_);
  }
  Result<void> start(Device& device) {
    const SharedLibrary library = KVASIR_TRY(open_library());
    if (!find_all(library, f_)) return Failure{Code::kUnavailable, "cuBLASLt lacks a function"};
    KVASIR_TRY(check(f_.create(&handle_), "cublasLtCreate"));
    workspace_ = KVASIR_TRY(DeviceBuffer::create(device, DeviceBuffer::Kind::kDevice, kWorkspaceBytes));
    return {};
  }
  uint64_t version() const noexcept override { return f_.version(); }

  Result<void> multiply(const Product& p, void* stream) override {
    const Shape* shape = KVASIR_TRY(shape_of(p));
    const float one = 1.0F, zero = 0.0F;
    return check(f_.multiply(handle_, shape->description, &one, p.w, shape->w, p.x, shape->x, &zero, p.y, shape->y, p.y, shape->y, &shape->candidate.algorithm,
                             workspace_.data(), kWorkspaceBytes, stream),
                 "cublasLtMatmul");
  }

 private:
  static Result<void> check(Status status, const char* what) {
    if (status == 0) return {};
    if (status == kAllocationFailed) return Failure{Code::kTooLarge, std::string("out of memory (") + what + ")"};
    return Failure{Code::kBackend, std::string(what) + " gave status " + std::to_string(status)};
  }
  void destroy(const Shape& shape) noexcept {
    for (Layout layout : {shape.w, shape.x, shape.y}) {
      if (layout != nullptr) f_.layout_destroy(layout);
    }
    if (shape.description != nullptr) f_.describe_destroy(shape.description);
  }

  Result<const Shape*> shape_of(const Product& p) {
    const Key key{p.rows, p.columns, p.k, p.y_stride, p.bf16};
    if (const auto found = shapes_.find(key); found != shapes_.end()) return &found->second;
    Shape shape;
    const auto made = make(p, shape);
    if (!made) {
      destroy(shape);
      return Failure{made.error().code, made.error().message};
    }
    return &shapes_.emplace(key, shape).first->second;
  }

  /// In the library's column-major words: y = w^T x, with w [k, rows], x [k, columns], y [rows, columns].
  Result<void> make(const Product& p, Shape& shape) {
    const int type = p.bf16 != 0 ? kRealBf16 : kReal16;
    KVASIR_TRY(check(f_.describe(&shape.description, kCompute32, kReal32), "cublasLtMatmulDescCreate"));
    KVASIR_TRY(check(f_.describe_set(shape.description, kTransposeA, &kYes, sizeof kYes), "cublasLtMatmulDescSetAttribute"));
    KVASIR_TRY(check(f_.describe_set(shape.description, kTransposeB, &kNo, sizeof kNo), "cublasLtMatmulDescSetAttribute"));
    KVASIR_TRY(check(f_.layout(&shape.w, type, p.k, p.rows, p.k), "cublasLtMatrixLayoutCreate"));
    KVASIR_TRY(check(f_.layout(&shape.x, type, p.k, p.columns, p.k), "cublasLtMatrixLayoutCreate"));
    KVASIR_TRY(check(f_.layout(&shape.y, kReal32, p.rows, p.columns, static_cast<int64_t>(p.y_stride)), "cublasLtMatrixLayoutCreate"));
    Preference preference = nullptr;
    KVASIR_TRY(check(f_.prefer(&preference), "cublasLtMatmulPreferenceCreate"));
    int found = 0;
    auto chosen = check(f_.prefer_set(preference, kMaxWorkspace, &kWorkspaceBytes, sizeof kWorkspaceBytes), "cublasLtMatmulPreferenceSetAttribute");
    if (chosen) chosen = check(f_.choose(handle_, shape.description, shape.w, shape.x, shape.y, shape.y, preference, 1, &shape.candidate, &found), "cublasLtMatmulAlgoGetHeuristic");
    f_.prefer_destroy(preference);
    if (!chosen) return chosen;
    if (found < 1 || shape.candidate.state != 0) return Failure{Code::kBackend, "cuBLASLt has no algorithm for this product"};
    return {};
  }

  Functions f_{};
  Handle handle_ = nullptr;
  DeviceBuffer workspace_;
  std::map<Key, Shape> shapes_;
};

}  // namespace

Result<std::unique_ptr<CublasLt>> CublasLt::open(Device& device) {
  auto out = std::make_unique<OpenCublasLt>();
  KVASIR_TRY(out->start(device));
  return std::unique_ptr<CublasLt>(std::move(out));
}

}  // namespace kvasir::cuda
