// Package wire frames messages on a byte stream: a preface that names the
// protocol and its version, then length-prefixed frames with a CRC32C each. It
// knows nothing of what the messages mean. See docs/formats/wire.md.
package wire
