-- What 000004 moved elsewhere.
alter table organizations
  drop column spend_nano, drop column max_budget_nano, drop column budget_duration, drop column budget_reset_at,
  drop column tpm_limit, drop column rpm_limit;
alter table teams drop column members_with_roles, drop column spend_nano, drop column budget_reset_at;
alter table users drop column teams, drop column spend_nano, drop column budget_reset_at;
alter table keys drop column spend_nano, drop column budget_reset_at, drop column model_spend;
