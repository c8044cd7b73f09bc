// Package fsload writes to a mounted file system and knows, from outside of it,
// what must be there after a crash: which content was fsynced, which names were
// made durable by the fsync of their folder, and what may or may not be there
// because it came later. It is a judge of the disk beneath: the file system's
// own crash consistency is taken for granted.
//
// A Load is several workers, each with a folder of its own, and churn beside
// them: changes of folders, links and attributes that nobody fsyncs, for the
// file system's checker to look at.
package fsload
