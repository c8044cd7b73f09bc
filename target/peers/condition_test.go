package peers

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/redoubt-dr/redoubt"
)

// What a node says of itself decides whether it gets shards; an answer that was
// given before it refused one does not.
func TestFailedNode(t *testing.T) {
	at := time.Unix(1000, 0)
	var own error
	p := New(t.Context(), Options{Self: "a", Now: func() time.Time { return at }, Failed: func() error { return own }})
	expect := func(what string, up bool, why string) {
		t.Helper()
		if p.Up("b") != up || !p.Answers("b") || p.Failed("b") != why {
			t.Errorf("%s: up %v, answers %v, %q", what, p.Up("b"), p.Answers("b"), p.Failed("b"))
		}
	}
	expect("at first", true, "")
	asked := at
	at = at.Add(time.Second)
	p.Fail("b", errors.New("no\nshard"))
	expect("after a refusal", false, "no shard")
	if p.learn("b", "", asked) {
		t.Error("an answer of before mends it")
	}
	expect("after an answer to an earlier question", false, "no shard")
	p.learn("b", "EIO", asked)
	expect("after its own words", false, "EIO")
	if p.learn("b", "", asked) || !p.learn("b", "", at) || p.learn("b", "", at) {
		t.Error("not mended once")
	}
	expect("after it was mended", true, "")

	if !p.Up("a") || p.condition() != (condition{}) {
		t.Errorf("this node: %+v", p.condition())
	}
	own = redoubt.ErrFailed
	if p.Up("a") || !p.Answers("a") || p.condition().Failed != redoubt.ErrFailed.Error() {
		t.Errorf("this node, failed: %+v", p.condition())
	}
}

// A condition is read back, an earlier version says nothing, and bytes that are
// none are an error, not health.
func TestCondition(t *testing.T) {
	c, err := readCondition(Encode(condition{Failed: "EIO"}))
	if err != nil || c.Failed != "EIO" {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err = readCondition(nil); err != nil || c.Failed != "" {
		t.Errorf("no body: %+v, %v", c, err)
	}
	if _, err = readCondition([]byte("nonsense")); !errors.Is(err, redoubt.ErrCorrupt) {
		t.Errorf("nonsense: %v", err)
	}
	if r := reason(strings.Repeat("ä", maxReason)); len(r) > maxReason+3 || !utf8.ValidString(r) {
		t.Errorf("%d bytes", len(r))
	}
}
