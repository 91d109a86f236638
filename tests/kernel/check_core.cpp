// Prints what the kernel's core finds in made-up rows, by scan and by graph, bit for bit, and checks
// that both scans agree. test_arm64.py builds it for two machines and compares what they print.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "graph.hpp"
#include "loops.hpp"
#include "postings.hpp"
#include "scan.hpp"

namespace {

// xorshift64*: the same numbers everywhere.
std::uint64_t state = 88172645463325252ULL;
std::uint32_t random_bits() {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return static_cast<std::uint32_t>((state * 2685821657736338717ULL) >> 32);
}

float random_value() {
  return static_cast<float>(static_cast<std::int32_t>(random_bits())) / 1073741824.0F;
}

void print(std::uint32_t dim, const std::vector<vecdb::Neighbor>& neighbors) {
  for (const auto& found : neighbors) {
    std::uint32_t bits;
    std::memcpy(&bits, &found.score, sizeof bits);
    std::printf("%u %u %08x\n", dim, found.row, bits);
  }
}

bool same(const std::vector<vecdb::Neighbor>& a, const std::vector<vecdb::Neighbor>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].row != b[i].row || std::memcmp(&a[i].score, &b[i].score, sizeof a[i].score) != 0) {
      return false;
    }
  }
  return true;
}

// Three lists over 20,000 rows: every row, each seventh, each 150th; the rarest first.
void print_postings() {
  constexpr std::uint32_t n = 20000;
  std::vector<std::uint32_t> rows, counts, lengths(n);
  std::vector<std::uint64_t> starts, stops;
  std::vector<float> values;
  for (const std::uint32_t step : {150U, 7U, 1U}) {
    starts.push_back(rows.size());
    for (std::uint32_t row = step / 2; row < n; row += step) rows.push_back(row);
    stops.push_back(rows.size());
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    counts.push_back(1 + random_bits() % 5);
    values.push_back(random_value());
  }
  for (std::uint32_t& length : lengths) length = 1 + random_bits() % 60;
  const std::vector<float> weights{9.5F, 3.25F, 0.125F}, norms{0.3F, 0.03F};
  const std::vector<std::uint32_t> fields(3, 0);
  const vecdb::Lists lists{rows.data(), starts.data(), stops.data(), weights.data(), 3};
  const vecdb::Bitmap all(nullptr, n);
  print(0, vecdb::search_text(lists, {counts.data(), lengths.data(), fields.data(), norms.data()},
                              n, 10, all));
  print(0, vecdb::search_sparse(lists, values.data(), n, 10, all));
}

}  // namespace

int main() {
  std::fprintf(stderr, "%s\n", vecdb::loops().name);
  for (const std::uint32_t dim : {1U, 7U, 64U, 100U, 384U}) {
    const std::uint32_t n = 1500;
    std::vector<float> values(std::size_t{n} * dim);
    for (float& value : values) value = random_value();
    std::vector<std::uint8_t> codes(values.size());
    std::vector<float> bounds(std::size_t{n} * 3);
    vecdb::loops().quantize(values.data(), n, dim, codes.data(), bounds.data());
    std::vector<float> query(dim);
    for (float& value : query) value = random_value();
    const vecdb::Vectors vectors{values.data(), n, dim};
    std::vector<std::uint64_t> words((n + 63) / 64);
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = 0x9249249249249249ULL << (i % 3);
    // Each row links to the next one and to seven that are anywhere, one of ten to no row.
    const std::uint32_t width = 8;
    std::vector<std::uint32_t> links(std::size_t{n} * width);
    for (std::uint32_t i = 0; i < n * width; ++i) {
      links[i] = i % width == 0 ? (i / width + 1) % n : random_bits() % (n + n / 10);
    }
    const std::vector<std::uint64_t> upper_offsets{0, 3};
    const std::vector<std::uint32_t> upper_rows{0, 600, 1200};
    const std::vector<std::uint32_t> upper_links{600, 1200, vecdb::NO_LINK, 0, 0, 600};
    const vecdb::Graph graph{links.data(), width, upper_offsets.data(), 1, upper_rows.data(),
                             upper_links.data(), 2, 0};
    std::vector<std::uint32_t> refined(std::size_t{n} * 5);
    vecdb::refine_links(links.data(), width, 0, {codes.data(), bounds.data()}, n, dim, 5, 1.2, 3,
                        refined.data());
    std::uint64_t hash = 0;
    for (const std::uint32_t link : refined) hash = (hash ^ link) * 0x9E3779B97F4A7C15ULL;
    std::printf("%016llx refined\n", static_cast<unsigned long long>(hash));
    for (const auto metric : {vecdb::Metric::Dot, vecdb::Metric::L2, vecdb::Metric::L1}) {
      for (const bool all : {true, false}) {
        const vecdb::Bitmap allowed(all ? nullptr : words.data(), n);
        const auto exact = vecdb::scan_f32(metric, vectors, query.data(), 10, allowed);
        const auto coded = vecdb::scan_i8(metric, {codes.data(), bounds.data()}, vectors,
                                          query.data(), 10, allowed);
        if (!same(exact, coded)) {
          std::fprintf(stderr, "dim %u: the scans disagree\n", dim);
          return 1;
        }
        print(dim, exact);
        const auto walked =
            vecdb::search_graph(metric, graph, {codes.data(), bounds.data()}, vectors,
                                query.data(), 10, 40, allowed);
        print(dim, walked.neighbors);
        std::printf("%u visited\n", walked.visited);
        const auto found = vecdb::search(metric, graph, {codes.data(), bounds.data()}, vectors,
                                         query.data(), 10, 40, allowed);
        print(dim, found.neighbors);
        std::printf("%u visited %d scanned\n", found.visited, found.scanned ? 1 : 0);
      }
    }
  }
  print_postings();
  return 0;
}
