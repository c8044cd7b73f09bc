// Package systest holds scenarios with the real programs as processes: two
// sites on loopback (demo/site), seeded load through a recording relay
// (internal/oracle), kill -9, and whole-disk hashes against the model. With
// -short the scenarios are smaller, not fewer.
package systest
