package blockdev

import (
	"testing"

	"go.uber.org/goleak"
)

// Every server, connection, group and journal that a test opens must end.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
