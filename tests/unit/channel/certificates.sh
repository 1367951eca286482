#!/bin/sh
# certificates.sh DIRECTORY - makes the certificates that the tests of TLS need:
#   authority.pem, other.pem   two that sign; only the first one signed the rest
#   server.pem, client.pem     for "localhost", and for one who dials (each with its .key)
#   expired.pem                for "localhost", until yesterday
# SPDX-License-Identifier: Apache-2.0
set -eu
cd "$1"
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }
authority() {
    key "$1"
    openssl req -x509 -new -key "$1.key" -subj "/CN=merle test $1" -days 3650 -out "$1.pem"
}
cat >authority.cnf <<END
[ca]
default_ca = it
[it]
database = index.txt
serial = serial.txt
new_certs_dir = .
certificate = authority.pem
private_key = authority.key
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[named]
subjectAltName = DNS:localhost
END
signed() { # name, common name, first day, last day
    key "$1"
    openssl req -new -key "$1.key" -subj "/CN=$2" -out "$1.csr"
    openssl ca -batch -notext -config authority.cnf -extensions named -startdate "$3" \
        -enddate "$4" -in "$1.csr" -out "$1.pem"
}
{
    : >index.txt
    echo 01 >serial.txt
    authority authority
    authority other
    day() { date -u -d "$1" +%Y%m%d000000Z; }
    signed server localhost "$(day yesterday)" "$(day '10 years')"
    signed client somebody "$(day yesterday)" "$(day '10 years')"
    signed expired localhost "$(day '10 days ago')" "$(day yesterday)"
} >certificates.log 2>&1 || { cat certificates.log >&2; exit 1; }
