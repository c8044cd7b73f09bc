// Package admin is the operator's way into a running redoubtd: the schema of
// the RPC (admin/v1/admin.proto), the glue that serves it on the node's TLS
// port and on a local unix socket, and the client that cmd/redoubt and other
// nodes use.
//
// The glue decides who may call what, turns the errors of the rooms into
// refusals with a reason and a hint, and turns them back into the same errors
// at the client, so that errors.Is works across the wire. What an RPC does is
// decided by the rooms that implement adminv1connect.AdminServiceHandler.
//
// It imports the root package, its generated code and internal/pki only.
package admin
