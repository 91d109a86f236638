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
}

}  // namespace vecdb::bindings
