// SPDX-License-Identifier: Apache-2.0
// The fake API server's answers: what is asked for is read off the request's line, and what is said is in the words of
// kube-apiserver. No sockets.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "test/support/fake_api_fault.h"
#include "test/support/fake_api_objects.h"

namespace underpass::test {

struct FakeCall {
  std::string method;
  std::string path;                          // decoded, without the query
  std::map<std::string, std::string> query;  // decoded
  std::string accept;
  std::string user = "system:serviceaccount:underpass-system:underpass";
  std::string body;
  // What the path names; null: nothing that is served.
  const FakeResource* resource = nullptr;
  std::string version;  // of the group
  std::string ns, name;

  [[nodiscard]] std::string parameter(const std::string& key) const;
  // "/apis/security.istio.io/v1/authorizationpolicies", whatever namespace or object is asked for; or the path.
  [[nodiscard]] std::string collection() const;
  [[nodiscard]] bool is_watch() const;
  [[nodiscard]] bool is_list() const;
  // "list", "watch", "get", "create" …
  [[nodiscard]] std::string verb() const;
};

struct FakeAnswer {
  unsigned status = 200;
  std::multimap<std::string, std::string> headers{};  // beside those that every answer has
  std::string body{};
};

// "a%2Fb+c" as "a/b c".
std::string percent_decoded(std::string_view text, bool plus_is_blank);

FakeCall parse_call(const std::string& method, const std::string& target, const FakeObjects& objects);

// A Status object as an answer. `details` null: none.
FakeAnswer status_answer(unsigned code, const std::string& reason, const std::string& message,
                         boost::json::value details = nullptr);
// In the words that belong to this HTTP status.
FakeAnswer usual_answer(unsigned code, const FakeCall& call);
FakeAnswer expired_answer();
FakeAnswer empty_list_answer(const FakeCall& call, const FakeObjects& objects);

// All but watches.
FakeAnswer answer_call(const FakeCall& call, FakeObjects& objects, const boost::json::value& server_version);

// Whether a list or watch that was narrowed by fieldSelector or a namespace sees it.
bool call_sees(const FakeCall& call, const FakeObject& object);
// Reduced to what `Accept: …;as=PartialObjectMetadata` asks for.
std::string text_for(const FakeCall& call, const FakeObject& object, std::uint64_t as_version);

}  // namespace underpass::test
