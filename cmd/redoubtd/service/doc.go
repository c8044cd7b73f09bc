// Package service answers the admin RPC with what the roles of this daemon know,
// or passes a request on to the node that knows: the owner of a group, the
// writer of its disks, its source. One file holds the requests about one thing;
// plan_*.go carry recovery plans out by the same requests that operators make.
package service
