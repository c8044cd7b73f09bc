// Package oracle is the judge of Redoubt: it knows, independently of the
// product, what every disk of a group must hold at every position of history.
//
// A Model keeps the disks' base images and a log of every change, in files of
// its own. A Relay sits between any NBD client, a kernel file system included,
// and the real export; it passes changes on one at a time across all disks of
// the group, so that the order it records is the order of the group's LSNs. A
// Workload makes seeded changes. A Client is a small NBD client.
//
// The package shares nothing with the product but the nouns of the root
// package: no journal, no index, no lineage walk.
package oracle
