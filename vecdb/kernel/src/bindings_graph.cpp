// The walk over a graph and the refinement of links, as Python calls them; the GIL is released while
// the core runs.
#include <algorithm>

#include "bindings.hpp"
#include "graph.hpp"
#include "threads.hpp"

namespace vecdb::bindings {

namespace {

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

// What all searches take but the query: where, how many, and which may be found.
struct Search {
  Metric metric;
  CodedArrays coded;
  GraphArrays graph;
  std::size_t k;
  std::size_t ef;
  Allowed allowed;

  Search(nb::handle metric, nb::handle links0, nb::handle upper_offsets, nb::handle upper_rows,
         nb::handle upper_links, nb::handle entry, nb::handle codes, nb::handle bounds,
         nb::handle vectors, nb::handle k, nb::handle ef, nb::handle allowed)
      : metric(known_metric(metric)),
        coded(codes, bounds, vectors),
        graph(links0, upper_offsets, upper_rows, upper_links, entry, coded.vectors().n),
        k(positive("k", k)),
        ef(positive("ef", ef)),
        allowed(allowed, coded.vectors().n) {}

  std::uint32_t dim() const { return coded.vectors().dim; }

  // Call one of the core's searches.
  template <typename Core>
  vecdb::GraphAnswer run(const Core& core, const float* query) const {
    return core(metric, graph.graph(), coded.codes(), coded.vectors(), query, k, ef,
                allowed.bitmap());
  }

  // The same for a query of Python's.
  template <typename Core>
  vecdb::GraphAnswer run(const Core& core, nb::handle query) const {
    const Array one("query", query, FLOAT32, 1);
    one.expect_shape({dim()});
    nb::gil_scoped_release released;
    return run(core, one.values<float>());
  }
};

nb::tuple search_graph(nb::handle metric, nb::handle links0, nb::handle upper_offsets,
                       nb::handle upper_rows, nb::handle upper_links, nb::handle entry,
                       nb::handle codes, nb::handle bounds, nb::handle vectors, nb::handle query,
                       nb::handle k, nb::handle ef, nb::handle allowed) {
  const Search search(metric, links0, upper_offsets, upper_rows, upper_links, entry, codes, bounds,
                      vectors, k, ef, allowed);
  const vecdb::GraphAnswer found = search.run(vecdb::search_graph, query);
  const nb::tuple answer = as_arrays(found.neighbors);
  return nb::make_tuple(answer[0], answer[1], found.visited);
}

nb::tuple search(nb::handle metric, nb::handle links0, nb::handle upper_offsets,
                 nb::handle upper_rows, nb::handle upper_links, nb::handle entry,
                 nb::handle codes, nb::handle bounds, nb::handle vectors, nb::handle query,
                 nb::handle k, nb::handle ef, nb::handle allowed) {
  const Search search(metric, links0, upper_offsets, upper_rows, upper_links, entry, codes, bounds,
                      vectors, k, ef, allowed);
  const vecdb::GraphAnswer found = search.run(vecdb::search, query);
  const nb::tuple answer = as_arrays(found.neighbors);
  return nb::make_tuple(answer[0], answer[1], found.visited, found.scanned);
}

nb::tuple search_many(nb::handle metric, nb::handle links0, nb::handle upper_offsets,
                      nb::handle upper_rows, nb::handle upper_links, nb::handle entry,
                      nb::handle codes, nb::handle bounds, nb::handle vectors, nb::handle queries,
                      nb::handle k, nb::handle ef, nb::handle allowed,
                      nb::handle threads) {
  const Search search(metric, links0, upper_offsets, upper_rows, upper_links, entry, codes, bounds,
                      vectors, k, ef, allowed);
  const Array many("queries", queries, FLOAT32, 2);
  const std::size_t count = many.shape()[0];
  many.expect_shape({count, search.dim()});
  const auto most = static_cast<unsigned>(between("threads", threads, THREADS_MAX));
  Table table(count, std::min<std::size_t>(search.k, search.allowed.bitmap().count()));
  auto visited = std::make_unique_for_overwrite<std::uint32_t[]>(count);
  auto scanned = std::make_unique_for_overwrite<bool[]>(count);
  {
    nb::gil_scoped_release released;
    vecdb::share_out(most, count, 1, [&](unsigned, std::uint64_t query, std::uint64_t) {
      const vecdb::GraphAnswer found =
          search.run(vecdb::search, many.values<float>() + query * search.dim());
      table.put(query, found.neighbors);
      visited[query] = found.visited;
      scanned[query] = found.scanned;
    });
  }
  return nb::make_tuple(table.take_rows(), table.take_scores(),
                        numpy_array(std::move(visited), {count}),
                        numpy_array(std::move(scanned), {count}));
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

}  // namespace

void bind_graph(nb::module_& module) {
  module.attr("NO_LINK") = vecdb::NO_LINK;
  module.def("search_graph", &search_graph, arg("metric"), arg("links0"), arg("upper_offsets"),
             arg("upper_rows"), arg("upper_links"), arg("entry"), arg("codes"), arg("bounds"),
             arg("vectors"), arg("query"), arg("k"), arg("ef"), arg("allowed"),
             "Return rows near the query found by walking a graph, and how many were visited.");
  module.def("search", &search, arg("metric"), arg("links0"), arg("upper_offsets"),
             arg("upper_rows"), arg("upper_links"), arg("entry"), arg("codes"), arg("bounds"),
             arg("vectors"), arg("query"), arg("k"), arg("ef"), arg("allowed"),
             "Return rows near the query by a walk or a scan, how many the walk visited, and "
             "whether they come from a scan.");
  module.def("search_many", &search_many, arg("metric"), arg("links0"), arg("upper_offsets"),
             arg("upper_rows"), arg("upper_links"), arg("entry"), arg("codes"), arg("bounds"),
             arg("vectors"), arg("queries"), arg("k"), arg("ef"), arg("allowed"), arg("threads"),
             "Return what search returns for each of many queries, found by many threads.");
  module.def("refine_links", &refine_links, arg("links0"), arg("entry"), arg("codes"), arg("bounds"),
             arg("width"), arg("alpha"), arg("threads"),
             "Return links chosen anew among every row's neighbours and theirs.");
}

}  // namespace vecdb::bindings
