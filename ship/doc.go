// Package ship moves a group's writes from one site to another: a Sender reads
// them from the journal and ships them as Deltas, a Receiver checks each and
// hands it to a Sink. The same pair serves both directions. Shipping resumes
// where the other side's committed position says, so that it needs no state of
// its own. See DESIGN.md.
package ship
