// Package site runs two real sites on one host: redoubtd processes with
// certificates, configurations and folders of their own on loopback. It works
// them only as an operator could: with the command redoubt, with signals, and
// through NBD sockets. The demo, the scenario tests and the bench build on it.
package site
