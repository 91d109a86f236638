#include "hits.hpp"

#include <bit>
#include <cstring>
#include <optional>

#include "crc32c.hpp"

namespace vecdb {
namespace {

constexpr std::size_t HEAD_BYTES = 16;
constexpr std::size_t EXPIRY_BYTES = 8;
constexpr std::size_t ENTRY_BYTES = 12;
constexpr std::size_t SEAL_BYTES = 4;

// Tags: field number << 3 | wire type (0 varint, 2 length-delimited, 5 four bytes).
constexpr char RESPONSE_HIT = 1 << 3 | 2;
constexpr char HIT_ID = 1 << 3 | 2;
constexpr char HIT_SCORE = 2 << 3 | 5;
constexpr char HIT_DISTANCE = 3 << 3 | 5;
constexpr char HIT_LEGS = 8 << 3 | 2;
constexpr char LEG_NUMBER = 1 << 3 | 0;
constexpr char LEG_SCORE = 2 << 3 | 5;
constexpr char LEG_RANK = 3 << 3 | 0;
constexpr char MAP_KEY = 1 << 3 | 2;
constexpr char MAP_VALUE = 2 << 3 | 2;
constexpr char VECTOR_F32 = 1 << 3 | 2;
constexpr char VECTOR_SPARSE = 5 << 3 | 2;
constexpr char VECTOR_MULTI = 6 << 3 | 2;
constexpr char MULTI_F32 = 1 << 3 | 2;
constexpr char MULTI_DIM = 2 << 3 | 0;
constexpr char SPARSE_INDICES = 1 << 3 | 2;
constexpr char SPARSE_VALUES = 2 << 3 | 2;

// What a Hit and a Point call by numbers of their own; both have the id in field 1.
struct Tags {
  char payload;
  char version;
  char vectors;
  char texts;
  char expires_at_ms;
};

constexpr Tags OF_HIT{4 << 3 | 2, 5 << 3 | 0, 6 << 3 | 2, 7 << 3 | 2, 9 << 3 | 0};
constexpr Tags OF_POINT{2 << 3 | 2, 4 << 3 | 0, 3 << 3 | 2, 5 << 3 | 2, 7 << 3 | 0};

const Tags& tags_of(const HitParts& parts) { return parts.as_point ? OF_POINT : OF_HIT; }

template <typename T>
T read(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

// A vector of a record, and the text that it was made from.
struct Cell {
  std::uint16_t space;
  std::string_view vector;
  std::string_view text;
};

struct Record {
  std::string_view id;
  std::string_view payload;
  std::uint64_t version;
  std::uint64_t expires_at_ms;  // 0 for never
  std::vector<Cell> cells;
};

bool is_sealed(std::uint64_t slot, std::string_view sealed) {
  if (sealed.size() < SEAL_BYTES) return false;
  // The seal is over database, key (big-endian) and value.
  std::uint8_t head[14] = {'p', 'o', 'i', 'n', 't', 's'};
  for (int i = 0; i < 8; ++i) head[6 + i] = static_cast<std::uint8_t>(slot >> (56 - 8 * i));
  const std::size_t count = sealed.size() - SEAL_BYTES;
  const auto* value = reinterpret_cast<const std::uint8_t*>(sealed.data());
  return crc32c(crc32c(0, head, sizeof head), value, count) == read<std::uint32_t>(sealed, count);
}

// Return the parts of a record's value, or nothing when its lengths do not add up.
std::optional<Record> cut(std::string_view value, bool with_cells) {
  if (value.size() < HEAD_BYTES) return std::nullopt;
  const bool expires = value[0] == 2;
  if (!expires && value[0] != 1) return std::nullopt;
  const std::size_t head = expires ? HEAD_BYTES + EXPIRY_BYTES : HEAD_BYTES;
  const std::size_t vectors = static_cast<std::uint8_t>(value[1]);
  const std::size_t id = read<std::uint16_t>(value, 2);
  const std::size_t payload = read<std::uint32_t>(value, 4);
  std::size_t at = head + vectors * ENTRY_BYTES;
  std::size_t total = at + id + payload;
  if (at > value.size()) return std::nullopt;
  const auto expires_at_ms = expires ? read<std::uint64_t>(value, HEAD_BYTES) : 0;
  if (expires && expires_at_ms == 0) return std::nullopt;
  for (std::size_t i = 0; i < vectors; ++i) {
    const std::size_t entry = head + i * ENTRY_BYTES;
    total += std::size_t{read<std::uint32_t>(value, entry + 4)} * 4;
    total += read<std::uint32_t>(value, entry + 8);
  }
  if (total != value.size()) return std::nullopt;
  Record record{value.substr(at, id), value.substr(at + id, payload),
                read<std::uint64_t>(value, 8),
                expires_at_ms, {}};
  if (!with_cells) return record;
  at += id + payload;
  for (std::size_t i = 0; i < vectors; ++i) {
    const std::size_t entry = head + i * ENTRY_BYTES;
    const std::size_t bytes = std::size_t{read<std::uint32_t>(value, entry + 4)} * 4;
    record.cells.push_back({read<std::uint16_t>(value, entry), value.substr(at, bytes), {}});
    at += bytes;
  }
  for (std::size_t i = 0; i < vectors; ++i) {
    const std::size_t bytes = read<std::uint32_t>(value, head + i * ENTRY_BYTES + 8);
    record.cells[i].text = value.substr(at, bytes);
    at += bytes;
  }
  return record;
}

std::size_t varint_size(std::uint64_t value) {
  return (static_cast<std::size_t>(std::bit_width(value | 1)) + 6) / 7;
}

// Return the bytes of a length-delimited field whose tag is one byte.
std::size_t field_size(std::size_t length) { return 1 + varint_size(length) + length; }

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

void put_length(std::string& out, char tag, std::size_t length) {
  out.push_back(tag);
  put_varint(out, length);
}

void put_bytes(std::string& out, char tag, std::string_view bytes) {
  put_length(out, tag, bytes.size());
  out.append(bytes);
}

void put_float(std::string& out, char tag, float value) {
  out.push_back(tag);
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}

// proto3 leaves out what is zero, bit for bit: -0.0 is sent.
bool is_sent(float value) { return std::bit_cast<std::uint32_t>(value) != 0; }

const HitSpace* space_of(const HitParts& parts, std::uint16_t number) {
  for (const HitSpace& space : parts.spaces) {
    if (space.number == number) return &space;
  }
  return nullptr;
}

// The cell of a sparse vector: half of it indices, as packed varints on the wire, half values.
class SparseCell {
 public:
  explicit SparseCell(std::string_view cell) : cell_(cell), half_(cell.size() / 2) {
    for (std::size_t at = 0; at < half_; at += 4) {
      index_bytes_ += varint_size(read<std::uint32_t>(cell_, at));
    }
  }

  // Return the bytes of the message; a vector without values is an empty one.
  std::size_t size() const {
    return half_ == 0 ? 0 : field_size(index_bytes_) + field_size(half_);
  }

  void put(std::string& out) const {
    if (half_ == 0) return;
    put_length(out, SPARSE_INDICES, index_bytes_);
    for (std::size_t at = 0; at < half_; at += 4) put_varint(out, read<std::uint32_t>(cell_, at));
    put_bytes(out, SPARSE_VALUES, cell_.substr(half_));
  }

 private:
  std::string_view cell_;
  std::size_t half_;
  std::size_t index_bytes_ = 0;
};

// Return whether a cell can hold several vectors of dim numbers.
bool is_multi(std::size_t bytes, std::uint32_t dim) {
  return bytes != 0 && bytes % (std::size_t{4} * dim) == 0;
}

// Append a Vector message; only count its bytes when out is null.
std::size_t put_vector(const HitSpace& space, std::string_view cell, std::string* out) {
  if (space.multi_dim != 0) {
    const std::size_t size = field_size(cell.size()) + 1 + varint_size(space.multi_dim);
    if (out != nullptr) {
      put_length(*out, VECTOR_MULTI, size);
      put_bytes(*out, MULTI_F32, cell);
      out->push_back(MULTI_DIM);
      put_varint(*out, space.multi_dim);
    }
    return field_size(size);
  }
  if (!space.sparse) {
    if (out != nullptr) put_bytes(*out, VECTOR_F32, cell);
    return field_size(cell.size());
  }
  const SparseCell sparse(cell);
  if (out != nullptr) {
    put_length(*out, VECTOR_SPARSE, sparse.size());
    sparse.put(*out);
  }
  return field_size(sparse.size());
}

// Append what a hit carries of a vector; only count its bytes when out is null.
std::size_t put_cell(const HitParts& parts, const Cell& cell, const HitSpace& space,
                     std::string* out) {
  const std::string& name = space.name;
  std::size_t size = 0;
  if (parts.vectors) {
    const std::size_t vector = put_vector(space, cell.vector, nullptr);
    const std::size_t entry = field_size(name.size()) + field_size(vector);
    size += field_size(entry);
    if (out != nullptr) {
      put_length(*out, tags_of(parts).vectors, entry);
      put_bytes(*out, MAP_KEY, name);
      put_length(*out, MAP_VALUE, vector);
      put_vector(space, cell.vector, out);
    }
  }
  if (parts.texts && !cell.text.empty()) {
    const std::size_t entry = field_size(name.size()) + field_size(cell.text.size());
    size += field_size(entry);
    if (out != nullptr) {
      put_length(*out, tags_of(parts).texts, entry);
      put_bytes(*out, MAP_KEY, name);
      put_bytes(*out, MAP_VALUE, cell.text);
    }
  }
  return size;
}

// Append what the legs said of a hit; only count its bytes when out is null.
std::size_t put_legs(const HitLegs& legs, std::string* out) {
  std::size_t size = 0;
  for (std::size_t leg = 0; leg < legs.count; ++leg) {
    if (legs.ranks[leg] == 0) continue;
    std::size_t entry = 1 + varint_size(legs.ranks[leg]);
    if (leg != 0) entry += 1 + varint_size(leg);
    if (is_sent(legs.scores[leg])) entry += 5;
    size += field_size(entry);
    if (out == nullptr) continue;
    put_length(*out, HIT_LEGS, entry);
    if (leg != 0) {
      out->push_back(LEG_NUMBER);
      put_varint(*out, leg);
    }
    if (is_sent(legs.scores[leg])) put_float(*out, LEG_SCORE, legs.scores[leg]);
    out->push_back(LEG_RANK);
    put_varint(*out, legs.ranks[leg]);
  }
  return size;
}

}  // namespace

bool append_hit(std::uint64_t slot, std::string_view sealed, float score, float distance,
                const HitLegs& legs, const HitParts& parts, const std::string_view* payload,
                std::string_view more, std::string& out) {
  if (!is_sealed(slot, sealed)) return false;
  auto record = cut(sealed.substr(0, sealed.size() - SEAL_BYTES), parts.vectors || parts.texts);
  if (!record) return false;
  if (payload != nullptr) record->payload = *payload;
  const bool with_payload = parts.payload && !record->payload.empty();
  std::size_t size = 0;
  if (!record->id.empty()) size += field_size(record->id.size());
  if (is_sent(score)) size += 5;
  if (is_sent(distance)) size += 5;
  if (with_payload) size += field_size(record->payload.size());
  if (record->version != 0) size += 1 + varint_size(record->version);
  for (const Cell& cell : record->cells) {
    const HitSpace* space = space_of(parts, cell.space);
    if (space == nullptr) continue;  // dropped since
    if (space->sparse && cell.vector.size() % 8 != 0) return false;
    if (space->multi_dim != 0 && !is_multi(cell.vector.size(), space->multi_dim)) return false;
    size += put_cell(parts, cell, *space, nullptr);
  }
  size += put_legs(legs, nullptr);
  if (record->expires_at_ms != 0) size += 1 + varint_size(record->expires_at_ms);
  size += more.size();
  put_length(out, RESPONSE_HIT, size);
  if (!record->id.empty()) put_bytes(out, HIT_ID, record->id);
  if (is_sent(score)) put_float(out, HIT_SCORE, score);
  if (is_sent(distance)) put_float(out, HIT_DISTANCE, distance);
  if (with_payload) put_bytes(out, tags_of(parts).payload, record->payload);
  if (record->version != 0) {
    out.push_back(tags_of(parts).version);
    put_varint(out, record->version);
  }
  for (const Cell& cell : record->cells) {
    const HitSpace* space = space_of(parts, cell.space);
    if (space != nullptr) put_cell(parts, cell, *space, &out);
  }
  put_legs(legs, &out);
  if (record->expires_at_ms != 0) {
    out.push_back(tags_of(parts).expires_at_ms);
    put_varint(out, record->expires_at_ms);
  }
  out.append(more);
  return true;
}

}  // namespace vecdb
