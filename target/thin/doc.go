// Package thin carries out retention: it lets go of recovery points as the groups'
// policies say (package retention decides), and writes segments anew without the
// bytes that no retained point shows. It also tells what each tier holds, what a
// policy would drop, and for how long there is room.
//
// One node, the group's owner, thins; the catalog checks and remembers each step,
// and every node says which points it reads. See DESIGN.md.
package thin
