// The checks of arguments; every message names the argument, what was expected and what came.
#include "bindings.hpp"

#include <bit>
#include <limits>

namespace vecdb::bindings {

static_assert(std::endian::native == std::endian::little, "arrays are little-endian on disk");

namespace {

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

}  // namespace

void raise_value(const std::string& message) {
  throw nb::value_error(message.c_str());
}

void raise_type(const std::string& message) {
  throw nb::type_error(message.c_str());
}

Array::Array(const char* name, nb::handle object, const Kind& kind, int ndim) : name_(name) {
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

void Array::expect_shape(const std::vector<std::uint64_t>& expected) const {
  if (shape_ == expected) return;
  raise_value(name_ + ": expected shape " + shape_text(expected) + ", got " + shape_text(shape_));
}

void Array::check(const Kind& kind, int ndim) {
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
  if (value < static_cast<std::int64_t>(Metric::Dot) ||
      value > static_cast<std::int64_t>(Metric::L1)) {
    raise_value("metric: expected DOT (0), L2 (1) or L1 (2), got " + std::to_string(value));
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

CodedArrays::CodedArrays(nb::handle codes, nb::handle bounds, nb::handle vectors)
    : codes_array_("codes", codes, UINT8, 2),
      bounds_array_("bounds", bounds, FLOAT32, 2),
      vectors_array_("vectors", vectors, FLOAT32, 2),
      vectors_(checked_vectors(vectors_array_)),
      codes_{codes_array_.values<std::uint8_t>(), bounds_array_.values<float>()} {
  codes_array_.expect_shape({vectors_.n, vectors_.dim});
  bounds_array_.expect_shape({vectors_.n, 3});
}

Allowed::Allowed(nb::handle object, std::uint32_t n) {
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

Table::Table(std::size_t queries, std::size_t neighbors)
    : queries_(queries),
      neighbors_(neighbors),
      rows_(std::make_unique_for_overwrite<std::uint32_t[]>(queries * neighbors)),
      scores_(std::make_unique_for_overwrite<float[]>(queries * neighbors)) {}

void Table::put(std::size_t query, const std::vector<vecdb::Neighbor>& found) {
  for (std::size_t i = 0; i < neighbors_; ++i) {
    rows_[query * neighbors_ + i] = found[i].row;
    scores_[query * neighbors_ + i] = found[i].score;
  }
}

nb::object Table::take_rows() { return numpy_array(std::move(rows_), {queries_, neighbors_}); }

nb::object Table::take_scores() { return numpy_array(std::move(scores_), {queries_, neighbors_}); }

}  // namespace vecdb::bindings
