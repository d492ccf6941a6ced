from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("sessions_app", "0006_actions_and_views")]

    operations = [
        migrations.RemoveIndex(model_name="message", name="message_by_time"),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(fields=["session", "subagent_id", "timestamp", "id"], name="message_by_thread"),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("role", "user")), fields=["session", "subagent_id", "timestamp", "id"], name="message_prompts"
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(condition=models.Q(("is_error", True)), fields=["session", "timestamp", "id"], name="message_errors"),
        ),
        migrations.AddIndex(
            model_name="usagerecord",
            index=models.Index(
                condition=models.Q(("response_id", ""), _negated=True), fields=["session", "response_id"], name="usage_by_response"
            ),
        ),
    ]
