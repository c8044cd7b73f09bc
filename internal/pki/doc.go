// Package pki makes and checks the certificates by which Redoubt's programs
// know each other. One authority per deployment; each certificate carries
// exactly one identity as the URI SAN redoubt://ROLE/NAME. TLS is 1.3 only and
// mutual. Host names are never checked: a node is who its certificate says.
package pki
