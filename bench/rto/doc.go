// Command rto measures how long it takes from the call of a test failover to
// the first 4 KiB read and the first 4 KiB write on the exported disk, for
// histories and disks of many sizes. The history is generated into the data
// folders of three nodes; then the real daemons run on them. With -cost it measures
// instead what a byte of payload costs beside itself, by the length of the history.
package main
