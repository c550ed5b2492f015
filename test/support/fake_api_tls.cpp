// SPDX-License-Identifier: Apache-2.0
#include "test/support/fake_api_tls.h"

#include <openssl/x509v3.h>

#include "test/support/x509.h"

namespace underpass::test {

using namespace x509;

FakeAuthority::FakeAuthority(const std::string& name) : key_(make_key()) {
  const FakeSubject usual;
  certificate_ = blank(name, usual.from, usual.until, key_.get());
  add_extension(certificate_.get(), certificate_.get(), NID_basic_constraints, "critical,CA:TRUE");
  add_extension(certificate_.get(), certificate_.get(), NID_key_usage, "critical,keyCertSign");
  add_extension(certificate_.get(), certificate_.get(), NID_subject_key_identifier, "hash");
  sign(certificate_.get(), certificate_.get(), key_.get());
  pem_ = pem_of(certificate_.get());
}

FakeIdentity FakeAuthority::issue(const FakeSubject& subject) const {
  const Key key = make_key();
  const Certificate certificate = blank(subject.name, subject.from, subject.until, key.get());
  const bool server = !subject.names.empty();
  add_extension(certificate.get(), certificate_.get(), NID_ext_key_usage, server ? "serverAuth" : "clientAuth");
  if (server) add_extension(certificate.get(), certificate_.get(), NID_subject_alt_name, subject.names);
  sign(certificate.get(), certificate_.get(), key_.get());
  return {pem_of(certificate.get()), pem_of(key.get())};
}

}  // namespace underpass::test
