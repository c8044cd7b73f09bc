// Package demo shows Redoubt's main job on real input: it protects a real file
// system and a raw disk with real programs on loopback, kills what can be
// killed, fails over to several points and comes back, and judges every opened
// point by the hash of whole disks against a model kept outside of Redoubt.
package demo
