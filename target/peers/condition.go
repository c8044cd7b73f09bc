package peers

import (
	"strings"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// condition is what a node answers to a ping. No body at all, which is what
// earlier versions answer, says that nothing is wrong.
type condition struct {
	Failed string `json:"failed,omitempty"` // why its shard log takes nothing until it is opened again
}

// maxReason bounds what is kept of a reason, in bytes.
const maxReason = 1 << 10

// condition returns that of this node.
func (p *Peers) condition() condition { return condition{Failed: p.Failed(p.o.Self)} }

func readCondition(b []byte) (c condition, err error) {
	if len(b) == 0 {
		return c, nil
	}
	_, err = Decode(b, &c)
	return c, err
}

// failure is that a node's shard log has failed.
type failure struct {
	why   string
	known time.Time // when it was last heard of
}

// Failed says why the node takes no shards although it may answer: its log has
// failed. "": it has not, as far as this node knows.
func (p *Peers) Failed(n redoubt.NodeID) string {
	if n == p.o.Self {
		if err := p.o.Failed(); err != nil {
			return reason(err.Error())
		}
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed[n].why
}

// Fail notes that the node refused a shard because its log has failed.
func (p *Peers) Fail(n redoubt.NodeID, err error) {
	if n != p.o.Self {
		p.learn(n, err.Error(), p.o.Now())
	}
}

// learn notes what the node said at the time at, or later; why is "" if its log
// takes shards. It reports whether the node takes shards again.
func (p *Peers) learn(n redoubt.NodeID, why string, at time.Time) (mended bool) {
	why = reason(why)
	p.mu.Lock()
	old, was := p.failed[n]
	switch {
	case why != "":
		p.failed[n] = failure{why, later(at, old.known)}
	case was && !at.Before(old.known): // else it was asked before it failed
		delete(p.failed, n)
		mended = true
	}
	p.mu.Unlock()
	switch {
	case why != "" && !was:
		p.o.Logger.Error("node takes no shards, its log has failed; going on without it", "node", n, "reason", why)
	case mended:
		p.o.Logger.Info("node takes shards again", "node", n)
	}
	return mended
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// reason makes one short line of a text.
func reason(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "..."
	}
	return text
}
