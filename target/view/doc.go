// Package view reads the disks of a group as they were at a recovery point.
//
// A View is the list of index runs that make its prefix of the history; nothing is
// copied to open it. What is read is fetched in blocks from the shards, checked
// against the sum that was made where it entered Redoubt, and cached for all Views
// of the node. See DESIGN.md.
package view
