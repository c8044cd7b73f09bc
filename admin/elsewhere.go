package admin

import (
	"cmp"
	"context"
	"fmt"

	"connectrpc.com/connect"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/admin/v1/adminv1connect"
)

// Elsewhere refuses every RPC with redoubt.ErrState. A handler embeds it and
// overrides what its role serves. Its zero value is usable.
type Elsewhere struct {
	Why  string // such as "this node is a source"
	Hint string // whom to ask instead
}

var _ adminv1connect.AdminServiceHandler = Elsewhere{}

func (e Elsewhere) refuse(op, group string) error {
	why := cmp.Or(e.Why, "this node does not serve it")
	hint := cmp.Or(e.Hint, "ask a node of the other role: --server https://HOST:PORT")
	return &redoubt.Error{Op: op, Object: group, Err: fmt.Errorf("%s: %w", why, redoubt.ErrState), Hint: hint}
}

// GetStatus refuses.
func (e Elsewhere) GetStatus(_ context.Context, r *adminv1.GetStatusRequest) (*adminv1.GetStatusResponse, error) {
	return nil, e.refuse("status", r.GetGroup())
}

// ListPoints refuses.
func (e Elsewhere) ListPoints(_ context.Context, r *adminv1.ListPointsRequest) (*adminv1.ListPointsResponse, error) {
	return nil, e.refuse("list points", r.GetGroup())
}

// ListExports refuses.
func (e Elsewhere) ListExports(_ context.Context, r *adminv1.ListExportsRequest) (*adminv1.ListExportsResponse, error) {
	return nil, e.refuse("list exports", r.GetGroup())
}

// GetLossReceipt refuses.
func (e Elsewhere) GetLossReceipt(_ context.Context, r *adminv1.GetLossReceiptRequest) (*adminv1.GetLossReceiptResponse, error) {
	return nil, e.refuse("loss receipt", r.GetGroup())
}

// Scrub refuses.
func (e Elsewhere) Scrub(_ context.Context, r *adminv1.ScrubRequest) (*adminv1.ScrubResponse, error) {
	return nil, e.refuse("scrub", r.GetNode())
}

// AddBookmark refuses.
func (e Elsewhere) AddBookmark(_ context.Context, r *adminv1.AddBookmarkRequest) (*adminv1.AddBookmarkResponse, error) {
	return nil, e.refuse("add bookmark", r.GetGroup())
}

// TestFailover refuses.
func (e Elsewhere) TestFailover(_ context.Context, r *adminv1.TestFailoverRequest) (*adminv1.TestFailoverResponse, error) {
	return nil, e.refuse("test failover", r.GetGroup())
}

// CleanupTest refuses.
func (e Elsewhere) CleanupTest(_ context.Context, r *adminv1.CleanupTestRequest) (*adminv1.CleanupTestResponse, error) {
	return nil, e.refuse("clean up test failover", r.GetGroup())
}

// UnplannedFailover refuses.
func (e Elsewhere) UnplannedFailover(_ context.Context, r *adminv1.UnplannedFailoverRequest) (*adminv1.UnplannedFailoverResponse, error) {
	return nil, e.refuse("unplanned failover", r.GetGroup())
}

// ChangeRecoveryPoint refuses.
func (e Elsewhere) ChangeRecoveryPoint(_ context.Context, r *adminv1.ChangeRecoveryPointRequest) (*adminv1.ChangeRecoveryPointResponse, error) {
	return nil, e.refuse("change recovery point", r.GetGroup())
}

// CommitFailover refuses.
func (e Elsewhere) CommitFailover(_ context.Context, r *adminv1.CommitFailoverRequest) (*adminv1.CommitFailoverResponse, error) {
	return nil, e.refuse("commit failover", r.GetGroup())
}

// CancelFailover refuses.
func (e Elsewhere) CancelFailover(_ context.Context, r *adminv1.CancelFailoverRequest) (*adminv1.CancelFailoverResponse, error) {
	return nil, e.refuse("cancel failover", r.GetGroup())
}

// ReverseReplicate refuses.
func (e Elsewhere) ReverseReplicate(_ context.Context, r *adminv1.ReverseReplicateRequest) (*adminv1.ReverseReplicateResponse, error) {
	return nil, e.refuse("reverse replicate", r.GetGroup())
}

// ReadPoint refuses.
func (e Elsewhere) ReadPoint(_ context.Context, r *adminv1.ReadPointRequest, _ *connect.ServerStream[adminv1.ReadPointResponse]) error {
	return e.refuse("read point", r.GetGroup())
}

// Failback refuses.
func (e Elsewhere) Failback(_ context.Context, r *adminv1.FailbackRequest) (*adminv1.FailbackResponse, error) {
	return nil, e.refuse("failback", r.GetGroup())
}

// PlannedFailover refuses.
func (e Elsewhere) PlannedFailover(_ context.Context, r *adminv1.PlannedFailoverRequest) (*adminv1.PlannedFailoverResponse, error) {
	return nil, e.refuse("planned failover", r.GetGroup())
}

// ListJobs refuses.
func (e Elsewhere) ListJobs(_ context.Context, r *adminv1.ListJobsRequest) (*adminv1.ListJobsResponse, error) {
	return nil, e.refuse("list jobs", r.GetGroup())
}

// GetJob refuses.
func (e Elsewhere) GetJob(_ context.Context, r *adminv1.GetJobRequest) (*adminv1.GetJobResponse, error) {
	return nil, e.refuse("show job", r.GetGroup())
}

// CancelJob refuses.
func (e Elsewhere) CancelJob(_ context.Context, r *adminv1.CancelJobRequest) (*adminv1.CancelJobResponse, error) {
	return nil, e.refuse("cancel job", r.GetGroup())
}

// AddNode refuses.
func (e Elsewhere) AddNode(_ context.Context, r *adminv1.AddNodeRequest) (*adminv1.AddNodeResponse, error) {
	return nil, e.refuse("add node", r.GetName())
}

// DrainNode refuses.
func (e Elsewhere) DrainNode(_ context.Context, r *adminv1.DrainNodeRequest) (*adminv1.DrainNodeResponse, error) {
	return nil, e.refuse("drain node", r.GetName())
}

// ReplaceNode refuses.
func (e Elsewhere) ReplaceNode(_ context.Context, r *adminv1.ReplaceNodeRequest) (*adminv1.ReplaceNodeResponse, error) {
	return nil, e.refuse("replace node", r.GetOld())
}

// RemoveNode refuses.
func (e Elsewhere) RemoveNode(_ context.Context, r *adminv1.RemoveNodeRequest) (*adminv1.RemoveNodeResponse, error) {
	return nil, e.refuse("remove node", r.GetName())
}
