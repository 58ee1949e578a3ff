"""Steps, checks and scripts that several kinds share. No kind stands here; `jobs/kinds/` is made of these."""
