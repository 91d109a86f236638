// Python in front of the core: checks every argument, lends the arrays without copying them, and
// releases the GIL while the core runs. Nothing is decided here.
//
// Arrays come through the buffer protocol rather than nb::ndarray, so that a wrong one raises an
// error that names the argument, what was expected and what came, and that read-only maps are as
// good as any.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graph.hpp"
#include "loops.hpp"
#include "scan.hpp"

namespace nb = nanobind;

namespace {

using vecdb::Metric;

constexpr std::int64_t THREADS_MAX = 256;

static_assert(std::endian::native == std::endian::little, "arrays are little-endian on disk");

// Return the name of an object's type, for an error message.
std::string kind_of(nb::handle object) {
  return nb::borrow<nb::str>(object.type().attr("__name__")).c_str();
}

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  }
  return text + (shape.size() == 1 ? ",)" : ")");
}

[[noreturn]] void raise_value(const std::string& message) {
  throw nb::value_error(message.c_str());
}

[[noreturn]] void raise_type(const std::string& message) {
  throw nb::type_error(message.c_str());
}

// What an array argument must be.
struct Kind {
  const char* text;  // numpy's name
  const char* codes;  // the struct module's letters for it
  Py_ssize_t bytes;
};
constexpr Kind FLOAT32{"float32", "f", 4};
constexpr Kind UINT8{"uint8", "B", 1};
constexpr Kind UINT32{"uint32", "IL", 4};
constexpr Kind UINT64{"uint64", "QL", 8};

// A borrowed, C-contiguous view of an array argument; the array stays alive and in place meanwhile.
class Array {
 public:
  Array(const char* name, nb::handle object, const Kind& kind, int ndim) : name_(name) {
    if (PyObject_CheckBuffer(object.ptr()) == 0) {
      raise_type(name_ + ": expected a " + kind.text + " array, got " + kind_of(object));
    }
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_RECORDS_RO) != 0) {
      PyErr_Clear();  // a dtype that buffers cannot describe
      raise_type(name_ + ": expected a " + kind.text + " array, got " + kind_of(object) +
                 " of a dtype without a buffer format");
    }
    try {
      check(kind, ndim);
    } catch (...) {
      PyBuffer_Release(&view_);
      throw;
    }
  }
  ~Array() { PyBuffer_Release(&view_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  template <typename T>
  const T* values() const {
    return static_cast<const T*>(view_.buf);
  }

  const std::vector<std::uint64_t>& shape() const { return shape_; }

  void expect_shape(const std::vector<std::uint64_t>& expected) const {
    if (shape_ == expected) return;
    raise_value(name_ + ": expected shape " + shape_text(expected) + ", got " + shape_text(shape_));
  }

 private:
  void check(const Kind& kind, int ndim) {
    const std::string format = view_.format == nullptr ? "B" : view_.format;
    // A leading '<', '=' or '@' says little-endian, unaligned or native.
    const std::string letters = format.find_first_of("<=@") == 0 ? format.substr(1) : format;
    const std::string accepted = kind.codes;
    if (letters.size() != 1 || accepted.find(letters) == std::string::npos ||
        view_.itemsize != kind.bytes) {
      raise_type(name_ + ": expected dtype " + kind.text + ", got buffer format '" + format + "'");
    }
    if (view_.ndim != ndim) {
      raise_value(name_ + ": expected " + std::to_string(ndim) + " dimension(s), got " +
                  std::to_string(view_.ndim));
    }
    if (PyBuffer_IsContiguous(&view_, 'C') == 0) {
      raise_value(name_ + ": expected a C-contiguous array, got a strided one");
    }
    const auto address = reinterpret_cast<std::uintptr_t>(view_.buf);
    if (address % static_cast<std::uintptr_t>(kind.bytes) != 0) {
      raise_value(name_ + ": expected an aligned array, got one at an odd address");
    }
    shape_.assign(view_.shape, view_.shape + view_.ndim);
  }

  std::string name_;
  Py_buffer view_{};
  std::vector<std::uint64_t> shape_;
};

// Return an integer argument; one too large for 64 bits becomes the nearest that fits.
std::int64_t integer(const char* name, nb::handle object) {
  if (PyIndex_Check(object.ptr()) == 0) {
    raise_type(std::string(name) + ": expected an int, got " + kind_of(object));
  }
  const Py_ssize_t value = PyNumber_AsSsize_t(object.ptr(), nullptr);
  if (value == -1 && PyErr_Occurred() != nullptr) throw nb::python_error();
  return value;
}

Metric known_metric(nb::handle object) {
  const std::int64_t value = integer("metric", object);
  if (value != static_cast<std::int64_t>(Metric::Dot) &&
      value != static_cast<std::int64_t>(Metric::L2)) {
    raise_value("metric: expected DOT (0) or L2 (1), got " + std::to_string(value));
  }
  return static_cast<Metric>(value);
}

std::size_t positive(const char* name, nb::handle object) {
  const std::int64_t value = integer(name, object);
  if (value < 1) {
    raise_value(std::string(name) + ": expected at least 1, got " + std::to_string(value));
  }
  return static_cast<std::size_t>(value);
}

std::int64_t between(const char* name, nb::handle object, std::int64_t most) {
  const std::int64_t value = integer(name, object);
  if (value < 1 || value > most) {
    raise_value(std::string(name) + ": expected 1 to " + std::to_string(most) + ", got " +
                std::to_string(value));
  }
  return value;
}

double at_least_one(const char* name, nb::handle object) {
  const double value = PyFloat_AsDouble(object.ptr());
  if (value == -1.0 && PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    raise_type(std::string(name) + ": expected a float, got " + kind_of(object));
  }
  if (!(value >= 1.0)) {
    raise_value(std::string(name) + ": expected at least 1, got " +
                nb::borrow<nb::str>(nb::repr(object)).c_str());
  }
  return value;
}

// How many rows an array has, of how many values.
struct Shape {
  std::uint32_t n;
  std::uint32_t dim;
};

// Rows are numbered in 32 bits.
Shape checked_shape(const char* name, const Array& array) {
  const std::uint64_t n = array.shape()[0];
  if (n > std::numeric_limits<std::uint32_t>::max()) {
    raise_value(std::string(name) + ": expected fewer than 2**32 rows, got " + std::to_string(n));
  }
  const std::uint64_t dim = array.shape()[1];
  if (dim < 1 || dim > vecdb::DIM_MAX) {
    raise_value(std::string(name) + ": expected 1 to " + std::to_string(vecdb::DIM_MAX) +
                " values a row, got " + std::to_string(dim));
  }
  return {static_cast<std::uint32_t>(n), static_cast<std::uint32_t>(dim)};
}

vecdb::Vectors checked_vectors(const Array& vectors) {
  const Shape shape = checked_shape("vectors", vectors);
  return {vectors.values<float>(), shape.n, shape.dim};
}

// Vectors with what quantize made of them, and the views of both that the core reads.
class CodedArrays {
 public:
  CodedArrays(nb::handle codes, nb::handle bounds, nb::handle vectors)
      : codes_array_("codes", codes, UINT8, 2),
        bounds_array_("bounds", bounds, FLOAT32, 2),
        vectors_array_("vectors", vectors, FLOAT32, 2),
        vectors_(checked_vectors(vectors_array_)),
        codes_{codes_array_.values<std::uint8_t>(), bounds_array_.values<float>()} {
    codes_array_.expect_shape({vectors_.n, vectors_.dim});
    bounds_array_.expect_shape({vectors_.n, 3});
  }

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
  Allowed(nb::handle object, std::uint32_t n) {
    if (!object.is_none()) {
      array_.emplace("allowed", object, UINT64, 1);
      const std::uint64_t words = (std::uint64_t{n} + 63) / 64;
      if (array_->shape()[0] < words) {
        raise_value("allowed: expected at least " + std::to_string(words) + " words for " +
                    std::to_string(n) + " rows, got " + std::to_string(array_->shape()[0]));
      }
    }
    // An array of no words may have no address, which the core reads as "no bitmap"; n is 0 then.
    bitmap_.emplace(array_ ? array_->values<std::uint64_t>() : nullptr, n);
  }

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

nb::tuple as_arrays(const std::vector<vecdb::Neighbor>& neighbors) {
  const std::size_t count = neighbors.size();
  auto rows = std::make_unique_for_overwrite<std::uint32_t[]>(count);
  auto scores = std::make_unique_for_overwrite<float[]>(count);
  for (std::size_t i = 0; i < count; ++i) {
    rows[i] = neighbors[i].row;
    scores[i] = neighbors[i].score;
  }
  return nb::make_tuple(numpy_array(std::move(rows), {count}),
                        numpy_array(std::move(scores), {count}));
}

nb::tuple quantize(nb::handle vectors) {
  const Array array("vectors", vectors, FLOAT32, 2);
  const vecdb::Vectors view = checked_vectors(array);
  const std::size_t n = view.n;
  auto codes = std::make_unique_for_overwrite<std::uint8_t[]>(n * view.dim);
  auto bounds = std::make_unique_for_overwrite<float[]>(n * 3);
  {
    nb::gil_scoped_release released;
    vecdb::loops().quantize(view.values, n, view.dim, codes.get(), bounds.get());
  }
  return nb::make_tuple(numpy_array(std::move(codes), {n, view.dim}),
                        numpy_array(std::move(bounds), {n, 3}));
}

nb::tuple scan_f32(nb::handle metric, nb::handle vectors, nb::handle query, nb::handle k,
                   nb::handle allowed) {
  const Metric kind = known_metric(metric);
  const Array array("vectors", vectors, FLOAT32, 2);
  const vecdb::Vectors view = checked_vectors(array);
  const Array query_array("query", query, FLOAT32, 1);
  query_array.expect_shape({view.dim});
  const std::size_t limit = positive("k", k);
  const Allowed rows(allowed, view.n);
  std::vector<vecdb::Neighbor> found;
  {
    nb::gil_scoped_release released;
    found = vecdb::scan_f32(kind, view, query_array.values<float>(), limit, rows.bitmap());
  }
  return as_arrays(found);
}

nb::tuple scan_i8(nb::handle metric, nb::handle codes, nb::handle bounds, nb::handle vectors,
                  nb::handle query, nb::handle k, nb::handle allowed) {
  const Metric kind = known_metric(metric);
  const CodedArrays arrays(codes, bounds, vectors);
  const vecdb::Vectors& view = arrays.vectors();
  const Array query_array("query", query, FLOAT32, 1);
  query_array.expect_shape({view.dim});
  const std::size_t limit = positive("k", k);
  const Allowed rows(allowed, view.n);
  std::vector<vecdb::Neighbor> found;
  {
    nb::gil_scoped_release released;
    found = vecdb::scan_i8(kind, arrays.codes(), view, query_array.values<float>(), limit,
                           rows.bitmap());
  }
  return as_arrays(found);
}

// Return the row to start from; 0 when there are no rows.
std::uint32_t known_entry(nb::handle object, std::uint32_t n) {
  const std::int64_t entry = integer("entry", object);
  if (n == 0) return 0;
  if (entry < 0 || entry >= std::int64_t{n}) {
    raise_value("entry: expected 0 to " + std::to_string(n - 1) + ", got " +
                std::to_string(entry));
  }
  return static_cast<std::uint32_t>(entry);
}

// The four arrays of a graph over n rows, and the view of them that the core reads.
class GraphArrays {
 public:
  GraphArrays(nb::handle links0, nb::handle upper_offsets, nb::handle upper_rows,
              nb::handle upper_links, nb::handle entry, std::uint32_t n)
      : links0_("links0", links0, UINT32, 2),
        offsets_("upper_offsets", upper_offsets, UINT64, 1),
        rows_("upper_rows", upper_rows, UINT32, 1),
        links_("upper_links", upper_links, UINT32, 2) {
    links0_.expect_shape({n, links0_.shape()[1]});
    links_.expect_shape({rows_.shape()[0], links_.shape()[1]});
    check_offsets();
    graph_ = {
        .links0 = links0_.values<std::uint32_t>(),
        .width = links0_.shape()[1],
        .upper_offsets = offsets_.values<std::uint64_t>(),
        .levels = offsets_.shape()[0] - 1,
        .upper_rows = rows_.values<std::uint32_t>(),
        .upper_links = links_.values<std::uint32_t>(),
        .upper_width = links_.shape()[1],
        .entry = known_entry(entry, n),
    };
  }

  const vecdb::Graph& graph() const { return graph_; }

 private:
  void check_offsets() const {
    const std::uint64_t count = offsets_.shape()[0];
    const std::uint64_t rows = rows_.shape()[0];
    const auto* offsets = offsets_.values<std::uint64_t>();
    if (count == 0 || offsets[0] != 0 || offsets[count - 1] != rows ||
        !std::is_sorted(offsets, offsets + count)) {
      raise_value("upper_offsets: expected ascending values from 0 to " + std::to_string(rows));
    }
  }

  Array links0_;
  Array offsets_;
  Array rows_;
  Array links_;
  vecdb::Graph graph_{};
};

nb::tuple search_graph(nb::handle metric, nb::handle links0, nb::handle upper_offsets,
                       nb::handle upper_rows, nb::handle upper_links, nb::handle entry,
                       nb::handle codes, nb::handle bounds, nb::handle vectors, nb::handle query,
                       nb::handle k, nb::handle ef, nb::handle allowed) {
  const Metric kind = known_metric(metric);
  const CodedArrays arrays(codes, bounds, vectors);
  const vecdb::Vectors& view = arrays.vectors();
  const GraphArrays graph(links0, upper_offsets, upper_rows, upper_links, entry, view.n);
  const Array query_array("query", query, FLOAT32, 1);
  query_array.expect_shape({view.dim});
  const std::size_t limit = positive("k", k);
  const std::size_t pool = positive("ef", ef);
  const Allowed rows(allowed, view.n);
  vecdb::GraphAnswer found;
  {
    nb::gil_scoped_release released;
    found = vecdb::search_graph(kind, graph.graph(), arrays.codes(), view,
                                query_array.values<float>(), limit, pool, rows.bitmap());
  }
  const nb::tuple answer = as_arrays(found.neighbors);
  return nb::make_tuple(answer[0], answer[1], found.visited);
}

nb::object refine_links(nb::handle links0, nb::handle entry, nb::handle codes, nb::handle bounds,
                        nb::handle width, nb::handle alpha, nb::handle threads) {
  const Array codes_array("codes", codes, UINT8, 2);
  const Shape view = checked_shape("codes", codes_array);
  const Array bounds_array("bounds", bounds, FLOAT32, 2);
  bounds_array.expect_shape({view.n, 3});
  const Array links("links0", links0, UINT32, 2);
  links.expect_shape({view.n, links.shape()[1]});
  const std::uint32_t start = known_entry(entry, view.n);
  const auto new_width = static_cast<std::uint32_t>(between("width", width, vecdb::WIDTH_MAX));
  const double slack = at_least_one("alpha", alpha);
  const auto count = static_cast<unsigned>(between("threads", threads, THREADS_MAX));
  auto refined = std::make_unique_for_overwrite<std::uint32_t[]>(std::size_t{view.n} * new_width);
  {
    nb::gil_scoped_release released;
    vecdb::refine_links(links.values<std::uint32_t>(), links.shape()[1], start,
                        {codes_array.values<std::uint8_t>(), bounds_array.values<float>()}, view.n,
                        view.dim, new_width, slack, count, refined.get());
  }
  return numpy_array(std::move(refined), {view.n, new_width});
}

// Return an argument that may be None as far as nanobind cares: the checks above say it better.
auto arg(const char* name) { return nb::arg(name).none(); }

}  // namespace

NB_MODULE(_native, module) {
  module.doc() = "The native search kernel; vecdb.kernel says what it does.";
  module.attr("DOT") = static_cast<int>(Metric::Dot);
  module.attr("L2") = static_cast<int>(Metric::L2);
  module.attr("DIM_MAX") = vecdb::DIM_MAX;
  module.attr("NO_LINK") = vecdb::NO_LINK;
  module.def("instruction_set", [] { return vecdb::loops().name; },
             "Return the name of the instruction set that the loops run with.");
  module.def("quantize", &quantize, arg("vectors"),
             "Return codes (n, dim) uint8 and bounds (n, 3) float32 of vectors (n, dim) float32.");
  module.def("scan_f32", &scan_f32, arg("metric"), arg("vectors"), arg("query"), arg("k"),
             arg("allowed"),
             "Return the rows and scores of the best min(k, allowed rows), best first.");
  module.def("scan_i8", &scan_i8, arg("metric"), arg("codes"), arg("bounds"), arg("vectors"),
             arg("query"), arg("k"), arg("allowed"),
             "Return what scan_f32 returns, reading one byte per value of most rows.");
  module.def("search_graph", &search_graph, arg("metric"), arg("links0"), arg("upper_offsets"),
             arg("upper_rows"), arg("upper_links"), arg("entry"), arg("codes"), arg("bounds"),
             arg("vectors"), arg("query"), arg("k"), arg("ef"), arg("allowed"),
             "Return rows near the query found by walking a graph, and how many were visited.");
  module.def("refine_links", &refine_links, arg("links0"), arg("entry"), arg("codes"), arg("bounds"),
             arg("width"), arg("alpha"), arg("threads"),
             "Return links chosen anew among every row's neighbours and theirs.");
}
