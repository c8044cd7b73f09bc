// Package config reads the configuration of redoubtd, and other YAML just as
// strictly (Decode).
//
// The file is YAML, read strictly: a key that is not known, a value of the
// wrong kind and a value that makes no sense are all refused, all of them at
// once, each with its line and column and with what to do about it. Every key
// and its default stand in docs/CONFIG.md; defaults are set in one place,
// defaults.go, and rules are in check.go.
package config
