// Package hook runs scripts that an administrator put on a node: to freeze and
// thaw an application, to check a recovery point, as steps of a plan.
//
// A script is named, never given: it lies in a folder that the node's
// configuration names, and both may be changed by root (or by the user that
// the daemon runs as) alone. So whoever may call the daemon chooses among
// what the administrator has approved, and nothing else.
//
// A script runs with the daemon's user and within its sandbox, in a process
// group of its own, in the folder /, with an empty standard input and no other
// environment than PATH, HOME=/, LC_ALL=C.UTF-8 and what the caller documents.
// Standard output and standard error are kept together, the last bytes of them.
// Exit code 0 is success, everything else a failure.
//
// At its time limit the whole process group gets SIGTERM, and after a grace
// SIGKILL. What leaves the group (setsid) is not found any more.
package hook
