package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/redoubt-dr/redoubt/internal/pki"
)

// certificateInterval is how often the daemon looks whether its certificate was
// replaced. It reads three small files.
const certificateInterval = 5 * time.Second

func followCertificate(ctx context.Context, cred *pki.Credentials, log *slog.Logger) {
	tick := time.NewTicker(certificateInterval)
	defer tick.Stop()
	cred.Follow(ctx, tick.C, log)
}
