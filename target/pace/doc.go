// Package pace says how fast work that can wait may go beside ingest, and holds
// it to that: repair, scrub, thinning and comparisons share what ingest leaves
// of a node's disks.
//
// Rate is the decision, a pure function of what is measured; Meter measures;
// Pacer enforces. Easy does for the processor what Pacer does for the disks. See
// DESIGN.md.
package pace
