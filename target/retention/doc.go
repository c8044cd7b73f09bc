// Package retention decides which recovery points are kept. It is a pure
// function of the policy, the points and a time: it reads no clock and changes
// nothing. Points are asked for by time, never listed, so that deciding costs
// as much as there are points to keep, however many there are to drop.
package retention
