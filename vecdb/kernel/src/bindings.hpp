// What every file of bindings shares: arguments are checked here and lent to the core without a copy,
// and answers become numpy arrays.
//
// Arrays come through the buffer protocol rather than nb::ndarray, so that a wrong one raises an
// error that names the argument, what was expected and what came, and that read-only maps are as
// good as any.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bitmap.hpp"
#include "metric.hpp"
#include "scan.hpp"

namespace vecdb::bindings {

namespace nb = nanobind;

[[noreturn]] void raise_value(const std::string& message);
[[noreturn]] void raise_type(const std::string& message);

// What an array argument must be.
struct Kind {
  const char* text;  // numpy's name
  const char* codes;  // the struct module's letters for it
  Py_ssize_t bytes;
};
inline constexpr Kind FLOAT32{"float32", "f", 4};
inline constexpr Kind UINT8{"uint8", "B", 1};
inline constexpr Kind UINT32{"uint32", "IL", 4};
inline constexpr Kind UINT64{"uint64", "QL", 8};

// A borrowed, C-contiguous view of an array argument; the array stays alive and in place meanwhile.
class Array {
 public:
  Array(const char* name, nb::handle object, const Kind& kind, int ndim);
  ~Array() { PyBuffer_Release(&view_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  template <typename T>
  const T* values() const {
    return static_cast<const T*>(view_.buf);
  }

  const std::vector<std::uint64_t>& shape() const { return shape_; }

  // Raise ValueError unless the array has this shape.
  void expect_shape(const std::vector<std::uint64_t>& expected) const;

 private:
  void check(const Kind& kind, int ndim);

  std::string name_;
  Py_buffer view_{};
  std::vector<std::uint64_t> shape_;
};

// Return an integer argument; one too large for 64 bits becomes the nearest that fits.
std::int64_t integer(const char* name, nb::handle object);

// Return an integer argument that is at least 1.
std::size_t positive(const char* name, nb::handle object);

// Return an integer argument from 1 to most.
std::int64_t between(const char* name, nb::handle object, std::int64_t most);

// Return a float argument that is at least 1.
double at_least_one(const char* name, nb::handle object);

vecdb::Metric known_metric(nb::handle object);

// How many rows an array has, of how many values.
struct Shape {
  std::uint32_t n;
  std::uint32_t dim;
};

// Rows are numbered in 32 bits.
Shape checked_shape(const char* name, const Array& array);

vecdb::Vectors checked_vectors(const Array& vectors);

// Vectors with what quantize made of them, and the views of both that the core reads.
class CodedArrays {
 public:
  CodedArrays(nb::handle codes, nb::handle bounds, nb::handle vectors);

  const vecdb::Vectors& vectors() const { return vectors_; }
  const vecdb::Codes& codes() const { return codes_; }

 private:
  Array codes_array_;
  Array bounds_array_;
  Array vectors_array_;
  vecdb::Vectors vectors_;
  vecdb::Codes codes_;
};

// The optional bitmap argument, and the view of it that the core reads.
class Allowed {
 public:
  Allowed(nb::handle object, std::uint32_t n);

  const vecdb::Bitmap& bitmap() const { return *bitmap_; }

 private:
  std::optional<Array> array_;
  std::optional<vecdb::Bitmap> bitmap_;
};

// Return a numpy array that owns its elements.
template <typename T>
nb::object numpy_array(std::unique_ptr<T[]> values, std::initializer_list<std::size_t> shape) {
  T* raw = values.get();
  nb::capsule owner(raw, [](void* pointer) noexcept { delete[] static_cast<T*>(pointer); });
  values.release();
  return nb::cast(nb::ndarray<nb::numpy, T>(raw, shape, owner), nb::rv_policy::reference);
}

// Return the pair (rows uint32, scores float32).
nb::tuple as_arrays(const std::vector<vecdb::Neighbor>& neighbors);

// Return an argument that may be None as far as nanobind cares: the checks above say it better.
inline auto arg(const char* name) { return nb::arg(name).none(); }

// The most threads that a call may ask for.
inline constexpr std::int64_t THREADS_MAX = 256;

// What a call for many queries answers: as many neighbors for each, in arrays (queries, neighbors).
class Table {
 public:
  Table(std::size_t queries, std::size_t neighbors);

  // Fill the row of one query; there are as many neighbors as the table is wide.
  void put(std::size_t query, const std::vector<vecdb::Neighbor>& found);

  // Return rows uint32 and scores float32, and leave this empty.
  nb::object take_rows();
  nb::object take_scores();

 private:
  std::size_t queries_;
  std::size_t neighbors_;
  std::unique_ptr<std::uint32_t[]> rows_;
  std::unique_ptr<float[]> scores_;
};

// Each adds the functions of one topic to the module.
void bind_scan(nb::module_& module);
void bind_graph(nb::module_& module);
void bind_postings(nb::module_& module);
void bind_query(nb::module_& module);
void bind_bitmaps(nb::module_& module);

}  // namespace vecdb::bindings
