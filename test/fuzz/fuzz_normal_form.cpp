// SPDX-License-Identifier: Apache-2.0
// Normal forms of arbitrary targets and authorities, in every setting: idempotent, never longer, without what the
// setting takes away, and the views are parts of the request. The first byte chooses, the first line is the authority.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "userspace_proxy/http/normal_form.h"

using namespace underpass;
using namespace underpass::http;

namespace {

void expect(bool holds) {
  if (!holds) __builtin_trap();
}

void check_path(std::string_view path, PathNormalization how) {
  expect(path.starts_with('/') && !path.contains('#') && !path.contains('\0') && !path.contains("%00"));
  if (how == PathNormalization::kNone) return;
  const std::string folder = std::string(path) + "/";
  expect(!path.contains('\\') && !folder.contains("/../") && !folder.contains("/./"));
  for (const auto* escaped : {"%2E", "%2e", "%41", "%7E", "%7e"}) expect(!path.contains(escaped));
  if (how >= PathNormalization::kMergeSlashes) expect(!path.contains("//"));
  if (how != PathNormalization::kDecodeAndMergeSlashes) return;
  for (const auto* escaped : {"%2F", "%2f", "%5C", "%5c"}) expect(!path.contains(escaped));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto how = static_cast<PathNormalization>(data[0] & 3U);
  const auto line = text.find('\n');
  Request request;
  if ((data[0] & 4U) != 0) request.method = "OPTIONS";
  if ((data[0] & 8U) != 0) request.scheme = "https";
  request.authority = text.substr(0, line);
  request.path = line == std::string_view::npos ? "/" : text.substr(line + 1);
  const auto length = request.path.size();

  const auto form = normalize(request, how);
  if (!form) return 0;
  expect(request.path.size() <= length);
  expect(form->path == std::string_view(request.path).substr(0, request.path.find('?')));
  expect(request.authority.starts_with(form->host) && !form->host.ends_with('.') && !form->host.contains('@'));
  if (request.path != "*") check_path(form->path, how);

  Request again;
  again.method = request.method;
  again.scheme = request.scheme;
  again.authority = request.authority;
  again.path = request.path;
  const auto second = normalize(again, how);
  expect(second && again.path == request.path && again.authority == request.authority);
  expect(second->host == form->host && second->port == form->port && second->path == form->path);
  return 0;
}
