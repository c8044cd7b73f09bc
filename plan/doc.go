// Package plan reads recovery plans and carries them out.
//
// A plan is a YAML document (docs/PLANS.md): ordered stages of protection
// groups, with scripts and confirmations before and after. Parse reads it strictly and
// reports all of its faults at once; Steps says what a run of it does, in order;
// Predict says how long that takes, from former runs.
//
// A Driver runs at every master target. A run is in the catalog, with every
// step that began or ended, and one node at a time holds it, under a term. When
// that node dies, or restarts, another (or the same) takes the run over under
// the next term and goes on with what has no result yet. So every step can be
// carried out again: a group by its epoch or the name of its export, a script because
// the administrator was told so.
package plan
