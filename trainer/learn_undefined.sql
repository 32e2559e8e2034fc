-- Answers requests that were made while the definition was applied that has their model no longer.
-- Calls rescore._answer_undefined, which writes rescore.learn_requests and rescore.learn_log.
SELECT rescore._answer_undefined()
