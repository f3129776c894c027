#include "tests/cuda/fake_cublaslt.h"

#include <cstring>

#include "backends/reference/dequantise.h"

using kvasir::test::FakeCublasLt;

namespace {

constexpr int kInvalidValue = 7;
constexpr uint64_t kMark = 0x6B76617369720001;  // in an algorithm that this library chose

FakeCublasLt fake;

struct Handle {};
struct Description {
  int compute, scale;
  int32_t transpose[2] = {0, 0};
};
struct Layout {
  int type;
  uint64_t rows, cols;
  int64_t leading;
};
struct Preference {
  uint64_t workspace = 0;
};
/// cublasLtMatmulHeuristicResult_t.
struct Candidate {
  uint64_t algorithm[8];
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};

template <class T>
int make(T** out, const char* function, const T& thing) {
  if (const int status = fake.step(function); status != 0) return status;
  ++fake.made;
  *out = new T(thing);
  return 0;
}
template <class T>
int destroy(T* thing) {
  --fake.made;
  delete thing;
  return 0;
}

float value(const void* from, uint64_t at, int type) {
  const uint16_t bits = static_cast<const uint16_t*>(from)[at];
  return type == 14 ? kvasir::bfloat_to_float(bits) : kvasir::half_to_float(bits);
}

bool fits(const Description& d, const Layout& a, const Layout& b, const Layout& y) {
  return d.compute == 68 && d.scale == 0 && d.transpose[0] == 1 && d.transpose[1] == 0 && a.type == b.type && (a.type == 2 || a.type == 14) && y.type == 0 &&
         a.rows == b.rows && y.rows == a.cols && y.cols == b.cols && a.leading == static_cast<int64_t>(a.rows) && b.leading == a.leading && y.leading >= static_cast<int64_t>(y.rows);
}

}  // namespace

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED FakeCublasLt* kvasir_fake_cublaslt() { return &fake; }

EXPORTED size_t cublasLtGetVersion() { return 130100; }
EXPORTED int cublasLtCreate(Handle** out) { return make(out, "cublasLtCreate", Handle{}); }
EXPORTED int cublasLtDestroy(Handle* h) { return destroy(h); }
EXPORTED int cublasLtMatmulDescCreate(Description** out, int compute, int scale) { return make(out, "cublasLtMatmulDescCreate", Description{compute, scale}); }
EXPORTED int cublasLtMatmulDescDestroy(Description* d) { return destroy(d); }
EXPORTED int cublasLtMatmulDescSetAttribute(Description* d, int attribute, const void* from, size_t bytes) {
  if (const int status = fake.step("cublasLtMatmulDescSetAttribute"); status != 0) return status;
  if ((attribute != 3 && attribute != 4) || bytes != sizeof(int32_t)) return kInvalidValue;
  std::memcpy(&d->transpose[attribute - 3], from, bytes);
  return 0;
}
EXPORTED int cublasLtMatrixLayoutCreate(Layout** out, int type, uint64_t rows, uint64_t cols, int64_t leading) {
  return make(out, "cublasLtMatrixLayoutCreate", Layout{type, rows, cols, leading});
}
EXPORTED int cublasLtMatrixLayoutDestroy(Layout* l) { return destroy(l); }
EXPORTED int cublasLtMatmulPreferenceCreate(Preference** out) { return make(out, "cublasLtMatmulPreferenceCreate", Preference{}); }
EXPORTED int cublasLtMatmulPreferenceDestroy(Preference* p) { return destroy(p); }
EXPORTED int cublasLtMatmulPreferenceSetAttribute(Preference* p, int attribute, const void* from, size_t bytes) {
  if (const int status = fake.step("cublasLtMatmulPreferenceSetAttribute"); status != 0) return status;
  if (attribute != 1 || bytes != sizeof p->workspace) return kInvalidValue;
  std::memcpy(&p->workspace, from, bytes);
  return 0;
}
EXPORTED int cublasLtMatmulAlgoGetHeuristic(Handle*, Description* d, Layout* a, Layout* b, Layout* c, Layout* y, Preference* p, int wanted, Candidate* out, int* found) {
  *found = 0;
  if (const int status = fake.step("cublasLtMatmulAlgoGetHeuristic"); status != 0) return status;
  if (wanted != 1 || c != y || !fits(*d, *a, *b, *y)) return kInvalidValue;
  ++fake.choices;
  *out = {};
  out->algorithm[0] = kMark;
  out->workspace = p->workspace;
  *found = 1;
  return 0;
}
EXPORTED int cublasLtMatmul(Handle*, Description* d, const void* alpha, const void* w, Layout* a, const void* x, Layout* b, const void* beta, const void* c, Layout* c_layout, void* y,
                            Layout* y_layout, const uint64_t* algorithm, void* workspace, size_t workspace_bytes, void* stream) {
  float one = 0.0F, zero = 1.0F;
  std::memcpy(&one, alpha, sizeof one);
  std::memcpy(&zero, beta, sizeof zero);
  if (!fits(*d, *a, *b, *y_layout) || c_layout != y_layout || c != y || one != 1.0F || zero != 0.0F || algorithm[0] != kMark || workspace == nullptr || workspace_bytes == 0) return kInvalidValue;
  return fake.run(stream, "cublasLtMatmul", [w, x, y, a = *a, b = *b, out = *y_layout] {
    ++fake.products;
    for (uint64_t column = 0; column < b.cols; ++column) {
      for (uint64_t row = 0; row < a.cols; ++row) {
        float sum = 0.0F;
        for (uint64_t k = 0; k < a.rows; ++k) sum += value(w, row * a.rows + k, a.type) * value(x, column * b.rows + k, b.type);
        static_cast<float*>(y)[column * static_cast<uint64_t>(out.leading) + row] = sum;
      }
    }
  });
}
