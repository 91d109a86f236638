// Quantization and the exact scans, as Python calls them; the GIL is released while the core runs.
#include <algorithm>

#include "bindings.hpp"
#include "loops.hpp"
#include "scan.hpp"
#include "threads.hpp"

namespace vecdb::bindings {

namespace {

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

nb::tuple scan_many(nb::handle metric, nb::handle codes, nb::handle bounds, nb::handle vectors,
                    nb::handle queries, nb::handle k, nb::handle allowed, nb::handle threads) {
  const Metric kind = known_metric(metric);
  const CodedArrays arrays(codes, bounds, vectors);
  const vecdb::Vectors& view = arrays.vectors();
  const Array query_array("queries", queries, FLOAT32, 2);
  const std::size_t count = query_array.shape()[0];
  query_array.expect_shape({count, view.dim});
  const std::size_t limit = positive("k", k);
  const Allowed rows(allowed, view.n);
  const auto most = static_cast<unsigned>(between("threads", threads, THREADS_MAX));
  const std::size_t neighbors = std::min<std::size_t>(limit, rows.bitmap().count());
  Table table(count, neighbors);
  {
    nb::gil_scoped_release released;
    vecdb::share_out(most, count, 1, [&](unsigned, std::uint64_t query, std::uint64_t) {
      table.put(query, vecdb::scan_i8(kind, arrays.codes(), view,
                                      query_array.values<float>() + query * view.dim, limit,
                                      rows.bitmap()));
    });
  }
  return nb::make_tuple(table.take_rows(), table.take_scores());
}

nb::object products(nb::handle vectors, nb::handle others) {
  const Array array("vectors", vectors, FLOAT32, 2);
  const Array others_array("others", others, FLOAT32, 2);
  const vecdb::Vectors view = checked_vectors(array);
  const vecdb::Vectors other_view = checked_vectors(others_array);
  others_array.expect_shape({other_view.n, view.dim});
  const std::size_t n = view.n;
  const std::size_t m = other_view.n;
  auto found = std::make_unique_for_overwrite<float[]>(n * m);
  {
    nb::gil_scoped_release released;
    vecdb::products(view, other_view, found.get());
  }
  return numpy_array(std::move(found), {n, m});
}

double max_sim(nb::handle query, nb::handle vectors, bool unit) {
  const Array query_array("query", query, FLOAT32, 2);
  const Array array("vectors", vectors, FLOAT32, 2);
  const vecdb::Vectors asked = checked_vectors(query_array);
  const vecdb::Vectors view = checked_vectors(array);
  array.expect_shape({view.n, asked.dim});
  if (asked.n == 0 || view.n == 0) raise_value("max_sim: expected at least one vector on each side");
  nb::gil_scoped_release released;
  return vecdb::max_sim(asked, view, unit);
}

}  // namespace

void bind_scan(nb::module_& module) {
  module.def("quantize", &quantize, arg("vectors"),
             "Return codes (n, dim) uint8 and bounds (n, 3) float32 of vectors (n, dim) float32.");
  module.def("scan_f32", &scan_f32, arg("metric"), arg("vectors"), arg("query"), arg("k"),
             arg("allowed"),
             "Return the rows and scores of the best min(k, allowed rows), best first.");
  module.def("scan_i8", &scan_i8, arg("metric"), arg("codes"), arg("bounds"), arg("vectors"),
             arg("query"), arg("k"), arg("allowed"),
             "Return what scan_f32 returns, reading one byte per value of most rows.");
  module.def("scan_many", &scan_many, arg("metric"), arg("codes"), arg("bounds"), arg("vectors"),
             arg("queries"), arg("k"), arg("allowed"), arg("threads"),
             "Return what scan_i8 returns for each of many queries, found by many threads.");
  module.def("products", &products, arg("vectors"), arg("others"),
             "Return the dot product of every vector with every other.");
  module.def("max_sim", &max_sim, arg("query"), arg("vectors"), nb::arg("unit"),
             "Return how well the vectors of a query fit those of a point, by MaxSim.");
}

}  // namespace vecdb::bindings
