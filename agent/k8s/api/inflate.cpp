// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/api/inflate.h"

#include <zlib.h>

#include <new>

namespace underpass::k8s {
namespace {

constexpr int kGzipOnly = 16 + MAX_WBITS;

}  // namespace

struct Inflater::State {
  z_stream stream{};
  std::string input;
  bool complete = false;
};

Inflater::Inflater() : state_(std::make_unique<State>()) {
  if (::inflateInit2(&state_->stream, kGzipOnly) != Z_OK) throw std::bad_alloc();
}

Inflater::~Inflater() { ::inflateEnd(&state_->stream); }

bool Inflater::complete() const { return state_->complete; }

void Inflater::put(std::string_view packed) {
  auto& stream = state_->stream;
  state_->input.erase(0, state_->input.size() - stream.avail_in);
  state_->input.append(packed);
  stream.next_in = reinterpret_cast<Bytef*>(state_->input.data());
  stream.avail_in = static_cast<uInt>(state_->input.size());
}

Result<std::size_t> Inflater::read(std::string& out, std::size_t most) {
  auto& stream = state_->stream;
  if (state_->complete) {
    if (stream.avail_in != 0) return fail("gzip: something comes after its end");
    return 0;
  }
  const auto before = out.size();
  out.resize(before + most);
  stream.next_out = reinterpret_cast<Bytef*>(out.data() + before);
  stream.avail_out = static_cast<uInt>(most);
  const int status = ::inflate(&stream, Z_NO_FLUSH);
  const auto made = most - stream.avail_out;
  out.resize(before + made);
  if (status == Z_STREAM_END) {
    state_->complete = true;
  } else if (status != Z_OK && status != Z_BUF_ERROR) {
    return fail(std::string("gzip: ") + (stream.msg != nullptr ? stream.msg : "not what it should be"));
  }
  return made;
}

}  // namespace underpass::k8s
